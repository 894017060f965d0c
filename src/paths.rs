//! Where wharf keeps its files: sockets in the runtime directory, what must last in the state directory.
//!
//! Nothing outside these two is ever written unasked (`wharf trust` asks). Both belong to one user and are closed to others.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The directory of sockets and locks: `$XDG_RUNTIME_DIR/wharf`, `/run/user/UID/wharf`, or `/tmp/wharf-UID`.
///
/// It is made, and closed to others, if it isn't.
pub(crate) fn runtime() -> Result<PathBuf> {
    let directory = runtime_place();
    private(&directory)?;
    Ok(directory)
}

/// The variable that names a directory in which both are: for a wharf that has nothing to do with any other.
pub(crate) const APART: &str = "WHARF_APART";

fn apart(part: &str) -> Option<PathBuf> {
    let named = env::var_os(APART).map(PathBuf::from);
    named
        .filter(|path| path.is_absolute())
        .map(|path| path.join(part))
}

/// Where the directory of sockets and locks is or would be; nothing is made.
///
/// A candidate that isn't ours (su keeps the former user's `XDG_RUNTIME_DIR`) is passed over.
pub(crate) fn runtime_place() -> PathBuf {
    if let Some(directory) = apart("run") {
        return directory;
    }
    let uid = rustix::process::getuid().as_raw();
    let named = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parents = named
        .into_iter()
        .chain([PathBuf::from(format!("/run/user/{uid}"))]);
    let ours = |path: &PathBuf| {
        path.is_absolute() && fs::metadata(path).is_ok_and(|found| found.uid() == uid)
    };
    match parents.into_iter().find(ours) {
        Some(parent) => parent.join("wharf"),
        None => PathBuf::from(format!("/tmp/wharf-{uid}")),
    }
}

/// The directory of what must last: `$XDG_STATE_HOME/wharf`, else `~/.local/state/wharf`, else the runtime directory.
pub(crate) fn state() -> Result<PathBuf> {
    let directory = state_place();
    match private(&directory) {
        Err(error) if apart("state").is_some() => Err(error),
        Err(_) => runtime(),
        Ok(()) => Ok(directory),
    }
}

/// Where the directory of what must last is or would be, if it can be made; nothing is made.
pub(crate) fn state_place() -> PathBuf {
    if let Some(directory) = apart("state") {
        return directory;
    }
    let named = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || {
        env::home_dir()
            .filter(|path| path.is_absolute())
            .map(|home| home.join(".local/state"))
    };
    match named.or_else(home) {
        Some(parent) => parent.join("wharf"),
        None => runtime_place(),
    }
}

/// The daemon's socket.
pub(crate) fn daemon_socket() -> Result<PathBuf> {
    Ok(socket_in(&runtime()?))
}

/// The daemon's socket in a runtime directory.
pub(crate) fn socket_in(runtime: &Path) -> PathBuf {
    runtime.join("daemon")
}

/// The directory of the keepers' sockets, one per space, where a new daemon finds them.
pub(crate) fn keepers() -> Result<PathBuf> {
    let directory = runtime()?.join("keepers");
    private(&directory)?;
    Ok(directory)
}

/// The directory of what is written down of each run.
pub(crate) fn runs() -> Result<PathBuf> {
    let directory = state()?.join("runs");
    private(&directory)?;
    Ok(directory)
}

/// Makes `directory` with mode 0700, or makes sure that what is there is ours and closed to others.
pub(crate) fn private(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make {}", directory.display()));
        }
    }
    let found = fs::symlink_metadata(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let uid = rustix::process::getuid().as_raw();
    if !found.is_dir() || found.uid() != uid {
        bail!(
            "{} is not a directory of user {uid}; set XDG_RUNTIME_DIR to one that is",
            directory.display()
        );
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close {} to others", directory.display()))?;
    }
    Ok(())
}
