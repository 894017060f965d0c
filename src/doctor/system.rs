//! What the machine itself gives: kernel, network device, directory, descriptors.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Access;
use rustix::process::Resource;

use super::Check;
use super::machine::Machine;

/// The oldest kernel that wharf runs on: the first whose `setns` takes a pidfd.
const OLDEST: (u32, u32) = (5, 8);

/// The oldest kernel that does all of it: the first to have `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
const RECOMMENDED: (u32, u32) = (5, 19);

/// The running kernel's release, such as `6.8.0-45-generic`.
pub(super) fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Whether the kernel is new enough.
pub(super) fn kernel(release: &str) -> Check {
    const NAME: &str = "kernel";
    let finding = format!("Linux {release}");
    let Some(version) = version(release) else {
        return Check::warn(
            NAME,
            format!("{finding}: not a version that wharf can compare"),
            "Make sure that it is Linux 5.19 or later.",
        );
    };
    if version < OLDEST {
        let finding = format!("{finding} is too old: wharf needs 5.8");
        return Check::fail(
            NAME,
            finding,
            "Start Linux 5.8 or later, best 5.19 or later.",
        );
    }
    if version < RECOMMENDED {
        let finding = format!("{finding}: spaces work, but binding can't be supervised safely");
        return Check::warn(NAME, finding, "Start Linux 5.19 or later.");
    }
    Check::ok(NAME, finding)
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Opens the TAP device as a space does.
pub(super) fn try_tun(machine: &Machine) -> io::Result<()> {
    let path = machine.path("/dev/net/tun");
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map(drop)
}

/// The TAP device is welcome, but not needed.
pub(super) fn tun(opened: io::Result<()>) -> Check {
    const NAME: &str = "/dev/net/tun";
    match opened {
        Ok(()) => Check::ok(NAME, "can be opened"),
        Err(error) => {
            let finding = format!("{error}: a packet socket takes its place, as fast");
            Check::ok(NAME, finding)
        }
    }
}

/// Whether the daemon's directory is there or can be made, and belongs to this user alone.
pub(super) fn runtime_directory(path: &Path) -> Check {
    const NAME: &str = "runtime directory";
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => match unsafe_because(&metadata) {
            None => Check::ok(NAME, shown.to_string()),
            Some((why, remedy)) => {
                Check::fail(NAME, format!("{shown} {why}"), format!("{remedy} {shown}"))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match parent_takes(path) {
            Ok(()) => Check::ok(NAME, format!("{shown} will be made")),
            Err(error) => not_usable(NAME, format!("{shown} can't be made: {error}")),
        },
        Err(error) => not_usable(NAME, format!("{shown} can't be used: {error}")),
    }
}

/// Why the directory must not be trusted with a socket, and the command that changes it.
fn unsafe_because(metadata: &Metadata) -> Option<(String, &'static str)> {
    if !metadata.is_dir() {
        return Some(("is not a directory".to_owned(), "rm"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Some((format!("belongs to user {}", metadata.uid()), "sudo rm -r"));
    }
    let mode = metadata.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        (
            format!("is open to other users (mode {mode:o})"),
            "chmod 700",
        )
    })
}

/// Whether a directory can be made here: in the nearest directory above that exists.
fn parent_takes(path: &Path) -> io::Result<()> {
    let parent = path.ancestors().skip(1).find(|above| above.exists());
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    rustix::fs::access(
        parent.unwrap_or(Path::new(".")),
        Access::WRITE_OK | Access::EXEC_OK,
    )?;
    Ok(())
}

/// The failure whose remedy is another directory.
fn not_usable(name: &'static str, finding: String) -> Check {
    Check::fail(
        name,
        finding,
        "Log in anew so that the system makes it, or name a directory of your own:\n\
         export XDG_RUNTIME_DIR=$(mktemp -d)",
    )
}

/// How many open files serve the thousand connections that a daemon must be able to carry, with
/// room for the spaces themselves.
const FILES_NEEDED: u64 = 4096;

/// The most files that this user's processes may open; `None` is without limit.
pub(super) fn most_open_files() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).maximum
}

/// Whether the daemon, which raises its own limit as far as it may, can open enough files.
pub(super) fn open_files(most: Option<u64>) -> Check {
    const NAME: &str = "open files";
    match most {
        None => Check::ok(NAME, "without limit"),
        Some(most) if most >= FILES_NEEDED => Check::ok(NAME, format!("up to {most}")),
        Some(most) => Check::fail(
            NAME,
            format!(
                "no more than {most}: each connection takes one, and {FILES_NEEDED} are needed"
            ),
            "Raise the hard limit (ulimit -Hn), then log in anew:\n\
             echo '* hard nofile 524288' | sudo tee /etc/security/limits.d/60-wharf.conf",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::State;
    use super::*;

    #[test]
    fn a_kernel_is_judged_by_its_version() {
        let cases = [
            ("6.18.44-fc", State::Ok),
            ("5.19.0", State::Ok),
            ("5.19-rc1", State::Ok),
            ("10.0", State::Ok),
            ("5.18.19-200.fc35.x86_64", State::Warn),
            ("5.8.0", State::Warn),
            ("5.7.19", State::Fail),
            ("4.19.0-27-amd64", State::Fail),
            ("unknown", State::Warn),
            ("", State::Warn),
        ];
        for (release, expected) in cases {
            assert_eq!(kernel(release).state, expected, "{release}");
        }
    }

    #[test]
    fn the_running_kernel_has_a_version() {
        assert!(version(&kernel_release()).is_some(), "{}", kernel_release());
    }

    #[test]
    fn a_missing_tap_device_is_replaced_and_said_so() {
        let (_root, machine) = super::super::machine::fake(&[]);
        let check = tun(try_tun(&machine));
        assert_eq!((check.state, check.remedy), (State::Ok, None));
        assert!(check.finding.contains("packet socket"), "{}", check.finding);
        let (_root, machine) = super::super::machine::fake(&[("/dev/net/tun", "")]);
        assert_eq!(tun(try_tun(&machine)).finding, "can be opened");
    }

    #[test]
    fn a_directory_of_one_s_own_is_safe_and_one_open_to_others_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("wharf");
        assert_eq!(runtime_directory(&path).state, State::Ok);
        assert_eq!(runtime_directory(&path.join("deeper")).state, State::Ok);
        std::fs::create_dir(&path).unwrap();
        for (mode, state) in [
            (0o700, State::Ok),
            (0o755, State::Fail),
            (0o702, State::Fail),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let check = runtime_directory(&path);
            assert_eq!(check.state, state, "{mode:o}: {check:?}");
            if state == State::Fail {
                assert_eq!(check.remedy, Some(format!("chmod 700 {}", path.display())));
            }
        }
    }

    #[test]
    fn a_file_or_a_link_in_the_directory_s_place_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(runtime_directory(&file).state, State::Fail);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(scratch.path(), &link).unwrap();
        let check = runtime_directory(&link);
        assert_eq!(check.remedy, Some(format!("rm {}", link.display())));
        assert_eq!(runtime_directory(&file.join("wharf")).state, State::Fail);
    }

    #[test]
    fn a_directory_can_t_be_made_where_this_user_may_not_write() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o500)).unwrap();
        let check = runtime_directory(&scratch.path().join("wharf"));
        if rustix::process::geteuid().is_root() {
            // Root may write anywhere.
            assert_eq!(check.state, State::Ok);
        } else {
            assert_eq!(check.state, State::Fail);
            assert!(check.remedy.unwrap().contains("XDG_RUNTIME_DIR"));
        }
    }

    #[test]
    fn too_few_open_files_fail() {
        assert_eq!(open_files(None).state, State::Ok);
        assert_eq!(open_files(Some(FILES_NEEDED)).state, State::Ok);
        assert_eq!(open_files(Some(FILES_NEEDED - 1)).state, State::Fail);
    }
}
