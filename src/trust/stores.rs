//! Where trust is put: the databases of browsers, and the machine's own list of authorities.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The program that edits a browser's database.
pub(crate) const CERTUTIL: &str = "certutil";

/// Below the home directory: directories that are, or hold, a browser's databases.
const BROWSERS: [(&str, &str); 13] = [
    ("Chromium", ".pki/nssdb"),
    ("Chromium", ".local/share/pki/nssdb"),
    ("Chromium", "snap/chromium/current/.pki/nssdb"),
    ("Chromium", "snap/chromium/current/.local/share/pki/nssdb"),
    ("Chromium", ".var/app/org.chromium.Chromium/.pki/nssdb"),
    ("Chrome", ".var/app/com.google.Chrome/.pki/nssdb"),
    ("Firefox", ".mozilla/firefox"),
    ("Firefox", ".config/mozilla/firefox"),
    ("Firefox", "snap/firefox/common/.mozilla/firefox"),
    ("Firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox"),
    (
        "Firefox",
        ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    ),
    ("LibreWolf", ".librewolf"),
    ("Zen", ".zen"),
];

/// A browser's database of certificates: NSS's, in a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) browser: &'static str,
    pub(crate) directory: PathBuf,
}

impl Database {
    /// Those that are there, below a home directory.
    pub(crate) fn below(home: &Path) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for (browser, place) in BROWSERS {
            let place = home.join(place);
            let profiles = fs::read_dir(&place).into_iter().flatten().flatten();
            let mut directories: Vec<_> = profiles.map(|entry| entry.path()).collect();
            directories.sort();
            directories.insert(0, place);
            directories.retain(|directory| directory.join("cert9.db").is_file());
            found.extend(
                directories
                    .into_iter()
                    .map(|directory| Self { browser, directory }),
            );
        }
        found
    }

    /// Has the browser trust this authority, under this name.
    pub(crate) fn add(&self, name: &str, certificate: &Path) -> Result<()> {
        let mut command = self.certutil();
        // As an authority for servers; for nothing else.
        command.args(["-A", "-t", "C,,", "-n", name, "-i"]);
        run(command.arg(certificate))
    }

    /// Whether the browser knows an authority of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        run(self.certutil().args(["-L", "-n", name])).is_ok()
    }

    /// Has the browser forget it.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        run(self.certutil().args(["-D", "-n", name]))
    }

    fn certutil(&self) -> Command {
        let mut command = Command::new(CERTUTIL);
        command
            .arg("-d")
            .arg(format!("sql:{}", self.directory.display()));
        command
    }
}

/// How a distribution has an authority added for all programs that ask the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Distribution {
    directory: &'static str,
    extension: &'static str,
    refresh: &'static [&'static str],
}

/// Debian, Fedora, Arch, SUSE and those that are like them.
const DISTRIBUTIONS: [Distribution; 4] = [
    Distribution {
        directory: "/usr/local/share/ca-certificates",
        extension: "crt",
        refresh: &["update-ca-certificates"],
    },
    Distribution {
        directory: "/etc/pki/ca-trust/source/anchors",
        extension: "pem",
        refresh: &["update-ca-trust", "extract"],
    },
    Distribution {
        directory: "/etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        refresh: &["trust", "extract-compat"],
    },
    Distribution {
        directory: "/etc/pki/trust/anchors",
        extension: "pem",
        refresh: &["update-ca-certificates"],
    },
];

/// The machine's list of authorities, and our file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) file: PathBuf,
    refresh: &'static [&'static str],
}

impl System {
    /// This machine's, for an authority of this name; `None` if it is none that we know.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let known = DISTRIBUTIONS.into_iter().find(|known| {
            Path::new(known.directory).is_dir() && is_installed(known.refresh[0].as_ref())
        })?;
        let file = format!("{}.{}", name.replace(' ', "-"), known.extension);
        Some(Self {
            file: Path::new(known.directory).join(file),
            refresh: known.refresh,
        })
    }

    /// Has programs of all users trust this authority.
    pub(crate) fn add(&self, certificate: &Path) -> Result<()> {
        let shown = || format!("cannot write {}", self.file.display());
        let content = fs::read(certificate).with_context(shown)?;
        fs::write(&self.file, content).with_context(shown)?;
        self.refresh()
    }

    /// Has them trust it no more.
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.file)
            .with_context(|| format!("cannot remove {}", self.file.display()))?;
        self.refresh()
    }

    /// What root would type.
    pub(crate) fn as_typed(&self, certificate: &Path) -> String {
        format!(
            "sudo install -m 644 {} {}\nsudo {}",
            certificate.display(),
            self.file.display(),
            self.refresh.join(" ")
        )
    }

    /// What root would type to undo it.
    pub(crate) fn undone_as_typed(&self) -> String {
        format!(
            "sudo rm {}\nsudo {}",
            self.file.display(),
            self.refresh.join(" ")
        )
    }

    fn refresh(&self) -> Result<()> {
        run(Command::new(self.refresh[0]).args(&self.refresh[1..]))
    }
}

/// Whether a program is where programs are.
pub(crate) fn is_installed(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .any(|directory| directory.join(program).is_file())
}

/// Runs a program to its end; what it says is said only if it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed: {}", said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_found_where_browsers_have_them() {
        let home = tempfile::tempdir().unwrap();
        for directory in [
            ".pki/nssdb",
            ".mozilla/firefox/b.default-release",
            ".mozilla/firefox/a.work",
            ".mozilla/firefox/without",
        ] {
            fs::create_dir_all(home.path().join(directory)).unwrap();
            if !directory.ends_with("without") {
                fs::write(home.path().join(directory).join("cert9.db"), "").unwrap();
            }
        }
        let found: Vec<_> = Database::below(home.path())
            .into_iter()
            .map(|database| {
                let place = database.directory.strip_prefix(home.path()).unwrap();
                (database.browser, place.display().to_string())
            })
            .collect();
        let expected = [
            ("Chromium", ".pki/nssdb"),
            ("Firefox", ".mozilla/firefox/a.work"),
            ("Firefox", ".mozilla/firefox/b.default-release"),
        ];
        assert_eq!(
            found,
            expected.map(|(browser, place)| (browser, place.to_owned()))
        );
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: why");
        assert!(is_installed("sh".as_ref()) && !is_installed("no-such-program".as_ref()));
    }
}
