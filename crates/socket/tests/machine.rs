//! A real QEMU with a real Linux inside, at the other end of a [`QemuServer`].
//!
//! It wants `qemu-system-x86_64`, a static `busybox` and a Debian kernel of the cloud kind with its modules: installed, or unpacked
//! where `WHARF_TEST_KERNEL` says. On Debian:
//!
//! ```text
//! apt-get install qemu-system-x86 busybox-static
//! apt-get download linux-image-6.1.0-56-cloud-amd64 && dpkg-deb -x linux-image-*.deb kernel
//! WHARF_TEST_KERNEL=$PWD/kernel cargo test -p wharf-socket --test machine -- --nocapture
//! ```
//!
//! What is missing is said, and then nothing is claimed. No KVM is needed: the guest is up within seconds without.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod network;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use network::config;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use wharf_socket::{QemuServer, Stack, TcpListener, TcpStream, ping};

/// What the guest runs.
const INIT: &str = include_str!("real/init");
/// What it needs for its network card.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];

/// A kernel and the place of its modules.
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    fn find() -> Option<Self> {
        let root = env::var_os("WHARF_TEST_KERNEL").unwrap_or_else(|| "/".into());
        let root = Path::new(&root);
        for entry in fs::read_dir(root.join("boot")).ok()?.flatten() {
            let name = entry.file_name().into_string().ok()?;
            let Some(release) = name.strip_prefix("vmlinuz-") else {
                continue;
            };
            let modules = root.join("lib/modules").join(release).join("kernel");
            let image = entry.path();
            if MODULES.iter().all(|module| modules.join(module).exists()) {
                return Some(Self { image, modules });
            }
        }
        None
    }
}

/// The guest, until it is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    fn start(kernel: &Kernel, initramfs: &Path, link: &Path, console: &Path) -> Self {
        let child = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-reboot", "-display", "none", "-m", "256"])
            .args(["-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-netdev")
            .arg(format!(
                "stream,id=n,server=off,addr.type=unix,addr.path={}",
                link.display()
            ))
            .args(["-device", "virtio-net-pci,netdev=n,romfile="])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

/// Whether there is a program that says so itself.
fn is_there(program: &str, argument: &str) -> bool {
    let ran = Command::new(program).arg(argument).output();
    ran.is_ok_and(|output| output.status.success())
}

/// An archive of what the guest has: busybox, modules, `init`, and data to send around.
fn initramfs(directory: &Path, kernel: &Kernel, data: &[u8]) -> PathBuf {
    let root = directory.join("root");
    for place in ["bin", "modules", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    let busybox = Command::new("sh")
        .args(["-c", "command -v busybox"])
        .output()
        .unwrap();
    let busybox = String::from_utf8(busybox.stdout).unwrap();
    fs::copy(busybox.trim(), root.join("bin/busybox")).unwrap();
    for module in MODULES {
        let name = Path::new(module).file_name().unwrap();
        fs::copy(kernel.modules.join(module), root.join("modules").join(name)).unwrap();
    }
    fs::write(root.join("data"), data).unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    let archive = directory.join("initramfs");
    let packed = Command::new("sh")
        .args([
            "-c",
            "cd \"$1\" && find . | busybox cpio -o -H newc >\"$2\"",
        ])
        .arg("sh")
        .args([&root, &archive])
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    archive
}

/// Sends everybody back what they say.
async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await
        });
    }
}

/// What the guest tells, until it is done.
async fn reports(listener: TcpListener) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        println!("guest: {}", line.trim());
        match line.trim() {
            "done" => return all,
            line => all.push(line.to_owned()),
        }
    }
}

/// The file that the guest's web server has.
async fn fetch(stack: &Stack, address: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(stack, address).await.unwrap();
    stream
        .write_all(b"GET /data HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await.unwrap();
    let end = b"\r\n\r\n";
    let body = page.windows(4).position(|window| window == end).unwrap() + 4;
    page.split_off(body)
}

#[tokio::test]
async fn a_linux_guest_in_qemu_pings_and_talks_both_ways() {
    let Some(kernel) = Kernel::find() else {
        eprintln!("skipped: no Debian cloud kernel in / or $WHARF_TEST_KERNEL");
        return;
    };
    if !is_there("qemu-system-x86_64", "--version") || !is_there("busybox", "true") {
        eprintln!("skipped: it takes qemu-system-x86_64 and a static busybox");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data: Vec<u8> = (0..500_000_u32).map(|at| (at ^ (at >> 9)) as u8).collect();
    let initramfs = initramfs(directory.path(), &kernel, &data);
    let link = directory.path().join("link");
    let stack = Stack::start(QemuServer::bind(&link, 1500).unwrap(), config(2));
    let listen = async |port: u16| {
        let address = ([0_u8; 16], port);
        TcpListener::bind(&stack, address).await.unwrap()
    };
    tokio::spawn(echo(listen(7).await));
    let reports = reports(listen(99).await);
    let console = directory.path().join("console");
    let _machine = Machine::start(&kernel, &initramfs, &link, &console);
    let said = || fs::read_to_string(&console).unwrap_or_default();
    let Ok(told) = timeout(Duration::from_secs(120), reports).await else {
        panic!("the guest is not done:\n{}", said());
    };
    assert_eq!(told.len(), 6, "{told:?}\n{}", said());
    assert!(
        told.iter().all(|line| line.ends_with(": yes")),
        "{told:?}\n{}",
        said()
    );

    for (address, server) in [("10.0.0.1", "10.0.0.1:80"), ("fd00::1", "[fd00::1]:80")] {
        let there = address.parse().unwrap();
        let took = timeout(Duration::from_secs(10), ping(&stack, there, &[7; 3000])).await;
        println!("{address} answers in {:?}", took.unwrap().unwrap());
        assert!(fetch(&stack, server).await == data);
    }
    let refused = TcpStream::connect(&stack, "10.0.0.1:81").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    println!("{:?}", stack.discards());
}
