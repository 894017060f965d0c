//! The example host, run until it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub(crate) struct Host {
    process: Child,
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) link: PathBuf,
    pub(crate) control: PathBuf,
    _directory: tempfile::TempDir,
}

impl Host {
    /// 10.0.0.2 and fd00::2, with 10.0.0.1 as its gateway.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (link, control) = (directory.path().join("L"), directory.path().join("C"));
        // Built along with the tests: target/PROFILE/deps/this → target/PROFILE/examples/host.
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().and_then(Path::parent).unwrap();
        let process = Command::new(profile.join("examples/host"))
            .arg("--link")
            .arg(format!("unix:{}", link.display()))
            .arg("--control")
            .arg(&control)
            .args(["--address", "10.0.0.2/24", "--address", "fd00::2/64"])
            .args(["--gateway", "10.0.0.1", "--no-icmp-limit"])
            .spawn()
            .expect("`cargo test` builds the examples, and so does `cargo build --examples`");
        let host = Self {
            process,
            link,
            control,
            _directory: directory,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !host.control.exists() {
            assert!(Instant::now() < deadline, "the host does not come up");
            std::thread::yield_now();
        }
        host
    }

    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn is_up(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
