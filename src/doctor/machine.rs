//! The machine's settings, read from files.
//!
//! They are read below a root, which is `/` except in tests.

use std::path::PathBuf;

/// Where settings are read, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    root: PathBuf,
    /// The user that needs the settings.
    pub(super) uid: u32,
    /// This program's own file.
    pub(super) binary: PathBuf,
}

impl Machine {
    /// This machine, this user and this program.
    pub(crate) fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            uid: rustix::process::geteuid().as_raw(),
            // Without /proc nothing works; the name is for messages only.
            binary: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("wharf")),
        }
    }

    /// A machine whose files lie below `root`, for user 1001.
    #[cfg(test)]
    pub(super) fn below(root: &std::path::Path) -> Self {
        let binary = PathBuf::from("/home/ada/bin/wharf");
        Self {
            root: root.to_owned(),
            uid: 1001,
            binary,
        }
    }

    /// A file of the machine, given by its absolute path.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's content; `None` when it can't be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let bytes = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A kernel setting such as `user.max_user_namespaces`; `None` on kernels that don't have it.
    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        let value = self.read(&format!("/proc/sys/{}", name.replace('.', "/")))?;
        Some(value.trim().to_owned())
    }

    /// Whether this is a container rather than a machine of its own.
    pub(super) fn is_container(&self) -> bool {
        let marks = [
            "/.dockerenv",
            "/run/.containerenv",
            "/run/systemd/container",
        ];
        marks.iter().any(|mark| self.path(mark).exists())
    }

    /// Whether a seccomp filter watches this process, as containers have it.
    pub(super) fn is_filtered(&self) -> bool {
        let status = self.read("/proc/self/status").unwrap_or_default();
        let mode = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"));
        mode.is_some_and(|mode| mode.trim() == "2")
    }
}

/// The commands that set a kernel setting, now and for every start of the machine.
pub(super) fn set_sysctl(name: &str, value: &str) -> String {
    format!(
        "echo '{name} = {value}' | sudo tee /etc/sysctl.d/60-wharf-{name}.conf\n\
             sudo sysctl -p /etc/sysctl.d/60-wharf-{name}.conf"
    )
}

/// Lays files below a root, for a faked machine.
#[cfg(test)]
pub(super) fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine::below(root.path());
    for (path, content) in files {
        let path = machine.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    (root, machine)
}
