//! The machine's resolvers, from `resolv.conf`, which may change at any time (a VPN comes up).
//!
//! resolv.conf(5); what it leaves open is as in glibc.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// The port of name servers.
const PORT: u16 = 53;

/// Name servers beyond the third are ignored, as by every C library.
const SERVERS_MAX: usize = 3;

/// How often it is checked at most whether the file has changed.
const CHECK: Duration = Duration::from_secs(1);

/// Which resolvers to ask, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstreams {
    /// In the order in which they are asked.
    pub(crate) servers: Vec<SocketAddr>,
    /// How long each may take. 1–30 seconds.
    pub(crate) timeout: Duration,
    /// How often all of them are asked. 1–5.
    pub(crate) attempts: u32,
}

impl Default for Upstreams {
    /// What resolv.conf(5) says if the file says nothing: the resolver on this machine.
    fn default() -> Self {
        Self {
            servers: vec![(Ipv4Addr::LOCALHOST, PORT).into()],
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl Upstreams {
    /// Reads the text of a `resolv.conf`. What can't be understood is skipped, as C libraries do.
    pub(crate) fn parse(text: &str) -> Self {
        let mut upstreams = Self::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            // The keyword stands in the first column; a comment may follow the value.
            let (keyword, values) = line.split_once([' ', '\t']).unwrap_or_default();
            let mut values = values.split([' ', '\t']).filter(|word| !word.is_empty());
            match keyword {
                "nameserver" => servers.extend(values.next().and_then(server)),
                "options" => values.for_each(|option| upstreams.option(option)),
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            upstreams.servers = servers;
        }
        upstreams
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match name {
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }
}

/// A name server's address, perhaps with a scope: `fe80::1%eth0`, `fe80::1%2` (RFC 4007 §11).
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some((word.parse::<IpAddr>().ok()?, PORT).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = zone.parse().ok().or_else(|| interface(zone))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

/// The index of an interface of the machine.
fn interface(name: &str) -> Option<u32> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let index = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    index.trim().parse().ok()
}

/// A `resolv.conf` that is read again when it has changed.
///
/// The file is looked at when somebody asks, once a second at most. Who must know before that watches it
/// ([`super::Change`]).
#[derive(Debug)]
pub(crate) struct ResolvConf {
    path: PathBuf,
    checked: Cell<Instant>,
    stamp: Cell<Option<Stamp>>,
    current: RefCell<Rc<Upstreams>>,
}

/// What changes with a file, whether it is written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

impl ResolvConf {
    /// Reads a file, usually `/etc/resolv.conf`. One that is missing says nothing, now or later.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let conf = Self {
            path: path.into(),
            checked: Cell::new(Instant::now()),
            stamp: Cell::new(None),
            current: RefCell::default(),
        };
        conf.read();
        conf
    }

    /// What the file says now.
    pub(crate) fn current(&self) -> Rc<Upstreams> {
        if self.checked.get().elapsed() >= CHECK {
            self.checked.set(Instant::now());
            if Stamp::of(&self.path) != self.stamp.get() {
                self.read();
            }
        }
        Rc::clone(&self.current.borrow())
    }

    fn read(&self) {
        // The stamp first: if the file changes in between, it is read once more, not once too
        // seldom.
        self.stamp.set(Stamp::of(&self.path));
        let text = fs::read(&self.path).unwrap_or_default();
        let upstreams = Upstreams::parse(&String::from_utf8_lossy(&text));
        tracing::debug!(?upstreams, path = %self.path.display(), "dns: the machine's resolvers");
        self.current.replace(Rc::new(upstreams));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let upstreams = Upstreams::parse(text);
        upstreams
            .servers
            .iter()
            .map(SocketAddr::to_string)
            .collect()
    }

    #[test]
    fn nameservers_are_read_in_order() {
        let text = "# a comment\n; another\nsearch example.com\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1 # ours\n nameserver 192.0.2.2\r\n";
        assert_eq!(servers(text), ["192.0.2.1:53", "[2001:db8::1]:53"]);
        let text = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        assert_eq!(servers(text).len(), 3);
    }

    #[test]
    fn scopes_are_numbers_or_interfaces() {
        assert_eq!(servers("nameserver fe80::1%7"), ["[fe80::1%7]:53"]);
        assert_eq!(servers("nameserver fe80::1%lo"), ["[fe80::1%1]:53"]);
        for nowhere in [
            "fe80::1%no-such0",
            "fe80::1%../lo",
            "fe80::1%",
            "192.0.2.1%1",
        ] {
            assert_eq!(servers(&format!("nameserver {nowhere}")), ["127.0.0.1:53"]);
        }
    }

    #[test]
    fn nothing_useful_means_this_machine() {
        for text in [
            "",
            "nameserver",
            "nameserver localhost",
            "nameserver 1.2.3",
            "options edns0",
        ] {
            assert_eq!(Upstreams::parse(text), Upstreams::default(), "{text:?}");
        }
    }

    #[test]
    fn options_stay_within_bounds() {
        let upstreams = Upstreams::parse("options edns0 timeout:1 attempts:3 rotate\n");
        assert_eq!(upstreams.timeout, Duration::from_secs(1));
        assert_eq!(upstreams.attempts, 3);
        let upstreams = Upstreams::parse("options timeout:0 attempts:99 timeout:x attempts:-1");
        assert_eq!(upstreams.timeout, Duration::from_secs(1));
        assert_eq!(upstreams.attempts, 5);
        assert_eq!(
            Upstreams::parse("options timeout:900").timeout,
            Duration::from_secs(30)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_written_replaced_or_removed_is_read_again() {
        let directory = std::env::temp_dir().join(format!("wharf-resolv-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("resolv.conf");
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        let conf = ResolvConf::new(&path);
        let first = |conf: &ResolvConf| conf.current().servers[0].ip().to_string();
        assert_eq!(first(&conf), "192.0.2.1");
        let other = directory.join("resolv.conf.new");
        fs::write(&other, "nameserver 192.0.2.22\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(
            first(&conf),
            "192.0.2.1",
            "it is looked at once a second at most"
        );
        tokio::time::advance(CHECK).await;
        assert_eq!(first(&conf), "192.0.2.22");
        fs::write(&path, "nameserver 192.0.2.3\n").unwrap();
        tokio::time::advance(CHECK).await;
        assert_eq!(first(&conf), "192.0.2.3");
        fs::remove_dir_all(&directory).unwrap();
        tokio::time::advance(CHECK).await;
        assert_eq!(first(&conf), "127.0.0.1");
    }
}
