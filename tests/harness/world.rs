//! A world of its own for each scene: a user, directories, a port of the names, and, if wanted, a machine.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, getpid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::machine::{self, Machine};
use super::process::{Line, Process};
use super::traces::Network;
use super::{Skipped, free_port, traces};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Marks every process of a world, in its environment.
const MARK: &str = "WHARF_TEST";
/// The ordinary user of tests that run as root: nobody's, so that nobody's files and processes are in the way.
const ORDINARY: u32 = 47_077;
/// How long after its last program a world may take to be empty.
const ENDING: Duration = Duration::from_secs(10);

/// Whom a scene is played as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The superuser.
    Root,
    /// Anybody: where tests run as an ordinary user, that one.
    Ordinary,
}

impl User {
    /// The user to become, if it is not who we are.
    pub(crate) fn other(self) -> Option<u32> {
        (self == Self::Ordinary && geteuid().is_root()).then_some(ORDINARY)
    }

    /// The user's id.
    pub(crate) fn uid(self) -> u32 {
        self.other().unwrap_or(geteuid().as_raw())
    }
}

/// A scene's world.
#[derive(Debug)]
pub(crate) struct World {
    /// Who runs everything in it.
    pub(crate) user: User,
    /// The port that its spaces' web servers share.
    pub(crate) names_port: u16,
    /// The wharf that is tested.
    pub(crate) binary: PathBuf,
    top: TempDir,
    mark: String,
    machine: OnceCell<Machine>,
}

impl World {
    /// A world in which nothing runs.
    pub(crate) fn new(user: User) -> Result<Self, Skipped> {
        if user == User::Root && !geteuid().is_root() {
            return Err(Skipped("these tests don't run as root".into()));
        }
        // Short, since a Unix socket's name has no more than 107 bytes.
        let top = tempfile::Builder::new()
            .prefix("wharf-t")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self {
            user,
            names_port: free_port(),
            binary: binary(user, top.path()),
            mark: top
                .path()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned(),
            machine: OnceCell::new(),
            top,
        };
        for (directory, mode) in [("run", 0o700), ("state", 0o700), ("home", 0o755)] {
            world.make_directory(&world.top.path().join(directory), mode);
        }
        world.spaces_can_be_made()?;
        Ok(world)
    }

    fn make_directory(&self, path: &Path, mode: u32) {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        self.own(path);
    }

    /// Gives a file to the world's user.
    pub(crate) fn own(&self, path: &Path) {
        if let Some(uid) = self.user.other() {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
        }
    }

    /// Whether this user may make spaces here; if not, every scene is skipped, and `wharf doctor` said why.
    fn spaces_can_be_made(&self) -> Result<(), Skipped> {
        static FOUND: [OnceLock<Option<String>>; 2] = [OnceLock::new(), OnceLock::new()];
        let found = FOUND[usize::from(self.user == User::Root)].get_or_init(|| {
            let report = self.wharf(["doctor", "--json"]).run();
            let report: Value =
                serde_json::from_str(&report.stdout).unwrap_or_else(|_| panic!("{report}"));
            let checks = report["checks"].as_array().unwrap();
            let check = checks
                .iter()
                .find(|check| check["name"] == "user namespaces")
                .unwrap();
            (check["state"] == "fail").then(|| check["finding"].as_str().unwrap().to_owned())
        });
        found.as_ref().map_or(Ok(()), |why| {
            Err(Skipped(format!("user namespaces: {why}")))
        })
    }

    /// The file of a program that the scene can't do without.
    pub(crate) fn needs(&self, program: &str) -> Result<PathBuf, Skipped> {
        let mut candidates = PATH
            .split(':')
            .map(|directory| Path::new(directory).join(program));
        candidates
            .find(|file| file.exists())
            .ok_or_else(|| Skipped(format!("there is no {program} here")))
    }

    /// The user's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.top.path().join("home")
    }

    /// The world's own directory, closed to nobody.
    pub(crate) fn top(&self) -> &Path {
        self.top.path()
    }

    /// The directory of sockets.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.top.path().join("run/wharf")
    }

    /// What the daemon has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.top.path().join("state/wharf/daemon.log")).unwrap_or_default()
    }

    /// Moves everything that is run from now on to a machine of its own.
    pub(crate) fn machine(&self) -> Result<&Machine, Skipped> {
        if self.machine.get().is_none() {
            self.needs("ip")?;
            let machine = Machine::make(self.user, self.top.path())?;
            self.machine
                .set(machine)
                .expect("it was not set a moment ago");
        }
        Ok(self.machine.get().expect("it was set a moment ago"))
    }

    /// A program of the machine, run by the world's user in this directory.
    pub(crate) fn line(&self, directory: &Path, program: impl AsRef<OsStr>) -> Line {
        let mut command = match self.machine.get() {
            Some(machine) => machine.command(self.user, directory, program.as_ref()),
            None => {
                let mut command = Command::new(program);
                command.current_dir(directory);
                if let Some(uid) = self.user.other() {
                    command.uid(uid).gid(uid);
                }
                command
            }
        };
        self.surround(&mut command);
        Line::new(command)
    }

    /// A program of the machine, run as whoever runs the tests: the machine's own servers.
    pub(crate) fn service(&self, program: impl AsRef<OsStr>) -> Line {
        let mut command = match self.machine.get() {
            Some(machine) => machine.service(program.as_ref()),
            None => Command::new(program),
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("PYTHONUNBUFFERED", "1");
        Line::new(command)
    }

    /// The environment of a world.
    fn surround(&self, command: &mut Command) {
        let port = match self.machine.get() {
            // On a machine of its own, the usual port is free.
            Some(_) => machine::NAMES_PORT,
            None => self.names_port,
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.top.path().join("run"))
            .env("XDG_STATE_HOME", self.top.path().join("state"))
            .env("WHARF_NAMES_PORT", port.to_string())
            .env("PYTHONUNBUFFERED", "1")
            .env(MARK, &self.mark);
    }

    /// A program of the machine, in the user's home.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Line {
        self.line(&self.home(), program)
    }

    /// `wharf` with these words, in the user's home.
    pub(crate) fn wharf<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Line {
        self.program(&self.binary).words(words)
    }

    /// A project's directory, made if it isn't there.
    pub(crate) fn project(&self, name: &str) -> Project<'_> {
        let path = self.home().join(name);
        self.make_directory(&path, 0o755);
        Project { world: self, path }
    }

    /// The devices that this user's spaces can have. That a TAP is not among them is said aloud.
    pub(crate) fn devices(&self) -> &'static [&'static str] {
        let opened = self
            .program("sh")
            .words(["-c", "exec 3<> /dev/net/tun"])
            .run();
        if opened.code() == 0 {
            return &["tap", "packet"];
        }
        super::aloud(&format!(
            "a part of a scene is skipped: no TAP: {}",
            opened.stderr.trim()
        ));
        &["packet"]
    }

    /// What `wharf ls --json` lists.
    #[track_caller]
    pub(crate) fn listeners(&self) -> Vec<Value> {
        let outcome = self.wharf(["ls", "--json"]).run();
        assert!([0, 1].contains(&outcome.code()), "{outcome}");
        let list: Value =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
        list["listeners"].as_array().cloned().unwrap_or_default()
    }

    /// The daemon's process id, if it runs.
    pub(crate) fn daemon(&self) -> Option<Pid> {
        self.processes("daemon").first().copied()
    }

    /// The processes that hold this world's spaces open.
    pub(crate) fn keepers(&self) -> Vec<Pid> {
        self.processes("keeper")
    }

    fn processes(&self, role: &str) -> Vec<Pid> {
        let is = |trace: &traces::Trace| trace.words.len() == 2 && trace.words[1] == role;
        self.traces()
            .into_iter()
            .filter(is)
            .map(|trace| trace.pid)
            .collect()
    }

    /// Every process of this world.
    pub(crate) fn traces(&self) -> Vec<traces::Trace> {
        traces::marked(&format!("{MARK}={}", self.mark))
    }

    /// Ends what runs, and makes sure that nothing of it is left: no process, no network namespace, no file outside of
    /// its directories, and in them no socket.
    pub(crate) fn end(&self) {
        let machine = Network::of(getpid());
        let mut networks: Vec<_> = self.keepers().into_iter().filter_map(Network::of).collect();
        // A keeper that was refused a network of its own may still be ending.
        networks.retain(|network| Some(network) != machine.as_ref());
        let stopped = self.wharf(["stop", "--all"]).run();
        assert!([0, 1].contains(&stopped.code()), "{stopped}");
        self.is_empty_within(ENDING);
        networks.iter().for_each(Network::is_gone);
        assert!(!self.log().contains("panicked"), "{}", self.log());
        self.holds_only("run", &["wharf", "wharf/keepers", "wharf/lock"]);
        // A daemon that was killed may leave the journal of its last transaction.
        self.holds_only(
            "state",
            &[
                "wharf",
                "wharf/daemon.log",
                "wharf/history.db",
                "wharf/history.db-journal",
                "wharf/runs",
                "wharf/spaces.json",
            ],
        );
        let hidden = files(&self.home())
            .into_iter()
            .filter(|file| file.starts_with('.'));
        assert_eq!(
            hidden.collect::<Vec<_>>(),
            Vec::<String>::new(),
            "files in the user's home"
        );
    }

    /// Waits until no process of this world is left.
    #[track_caller]
    pub(crate) fn is_empty_within(&self, time: Duration) {
        let begun = Instant::now();
        while let left @ [_, ..] = &self.traces()[..] {
            assert!(begun.elapsed() < time, "left after {time:?}: {left:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn holds_only(&self, directory: &str, expected: &[&str]) {
        let directory = self.top.path().join(directory);
        let left = files(&directory)
            .into_iter()
            .filter(|file| !expected.contains(&file.as_str()) && !file.starts_with("wharf/runs/"));
        assert_eq!(
            left.collect::<Vec<_>>(),
            Vec::<String>::new(),
            "left in {}",
            directory.display()
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        for trace in self.traces() {
            kill_process(trace.pid, Signal::KILL).ok();
        }
    }
}

/// A directory with a space of its own.
#[derive(Debug)]
pub(crate) struct Project<'w> {
    /// The world that it is in.
    pub(crate) world: &'w World,
    /// The directory.
    pub(crate) path: PathBuf,
}

impl Project<'_> {
    /// `wharf` with these words.
    pub(crate) fn wharf<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Line {
        self.world.line(&self.path, &self.world.binary).words(words)
    }

    /// `wharf run -q -- WORDS`.
    pub(crate) fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Line {
        self.wharf(["run", "-q", "--"]).words(words)
    }

    /// A shell's script, run in the space.
    pub(crate) fn shell(&self, script: &str) -> Line {
        self.run(["sh", "-c", script])
    }

    /// The inode of the space's network namespace.
    #[track_caller]
    pub(crate) fn network(&self) -> String {
        self.run(["readlink", "/proc/self/ns/net"]).out()
    }

    /// Holds the space open until it goes.
    #[track_caller]
    pub(crate) fn hold(&self) -> Process {
        self.hold_with(&[])
    }

    /// Holds the space open, made with these options, until it goes.
    #[track_caller]
    pub(crate) fn hold_with(&self, options: &[&str]) -> Process {
        let held = self
            .wharf(["run"])
            .words(options)
            .words(["--", "sh", "-c", "echo held; exec cat"])
            .start();
        held.says("held");
        held
    }
}

/// The files below a directory, as paths from there.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            found.push(
                path.strip_prefix(directory)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The program under test, where its user can run it: the one that was built, or what `WHARF_TEST_BINARY` names.
fn binary(user: User, top: &Path) -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_wharf").unwrap_or_default();
    let built = std::env::var_os("WHARF_TEST_BINARY").map_or_else(|| built.into(), PathBuf::from);
    let built =
        fs::canonicalize(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0);
    if user.other().is_none() || built.ancestors().all(open) {
        return built;
    }
    let near = top.join("wharf");
    fs::hard_link(&built, &near)
        .or_else(|_| fs::copy(&built, &near).map(drop))
        .unwrap_or_else(|error: io::Error| {
            panic!(
                "cannot put {} into {}: {error}",
                built.display(),
                top.display()
            )
        });
    fs::set_permissions(&near, fs::Permissions::from_mode(0o755)).unwrap();
    near
}
