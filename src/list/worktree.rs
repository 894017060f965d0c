//! The git worktree that a process works in, and the branch that is checked out there.
//!
//! Everything is looked up from the process's own directory upwards, through `/proc/PID/cwd`, so that a path in a container
//! is not taken for one of the machine. git itself is not asked: it would run as whoever looks, in a directory that
//! may be anybody's.
//!
//! To have read: `gitrepository-layout(5)`.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worktree {
    /// Its root directory.
    pub(crate) root: String,
    /// The branch; the beginning of the commit's name where none is checked out; `None` if that can't be read.
    pub(crate) branch: Option<String>,
}

/// Worktrees that were found already, by device and inode of the directory that they were looked up from.
#[derive(Debug, Default)]
pub(crate) struct Worktrees(HashMap<(u64, u64), Option<Found>>);

/// A worktree as seen from a directory in it.
#[derive(Debug, Clone)]
struct Found {
    /// How many directories up its root is.
    up: usize,
    branch: Option<String>,
}

/// Deeper directories are not climbed out of.
const DEPTH: usize = 64;

/// `HEAD` and `.git` files are lines of a path's length.
const FILE_BYTES: usize = 4096 + 64;

/// How much of a commit's name is shown.
const COMMIT_CHARACTERS: usize = 10;

impl Worktrees {
    /// The worktree that holds the current directory, called `path`, of the process whose open `/proc/PID` this is.
    pub(crate) fn of(&mut self, process: BorrowedFd<'_>, path: &str) -> Option<Worktree> {
        let found = rustix::fs::statat(process, "cwd", AtFlags::empty()).ok()?;
        let look = || find(process, open_directory(process, "cwd").ok()?);
        let found = self
            .0
            .entry((found.st_dev, found.st_ino))
            .or_insert_with(look)
            .clone()?;
        Some(Worktree {
            root: above(path, found.up)?,
            branch: found.branch,
        })
    }
}

/// The directory so many levels above this one.
fn above(path: &str, levels: usize) -> Option<String> {
    let mut path = path;
    for _ in 0..levels {
        path = match path.rsplit_once('/')? {
            ("", "") => return None,
            ("", _) => "/",
            (above, _) => above,
        };
    }
    Some(path.to_owned())
}

/// Climbs from `directory` to the first one with a `.git`.
fn find(process: BorrowedFd<'_>, mut directory: OwnedFd) -> Option<Found> {
    for up in 0..DEPTH {
        match rustix::fs::statat(&directory, ".git", AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => {
                let kind = FileType::from_raw_mode(found.st_mode);
                let branch = git_directory(process, directory.as_fd(), kind)
                    .and_then(|git| branch(git.as_fd()));
                return Some(Found { up, branch });
            }
            Err(Errno::NOENT) => {}
            Err(_) => return None,
        }
        directory = open_directory(directory.as_fd(), "..").ok()?;
    }
    None
}

/// What `.git` is or, as a file in a linked worktree, names.
fn git_directory(process: BorrowedFd<'_>, root: BorrowedFd<'_>, kind: FileType) -> Option<OwnedFd> {
    if kind != FileType::RegularFile {
        return open_directory(root, ".git").ok();
    }
    let text = read(root, ".git")?;
    let named = text.strip_prefix("gitdir:")?.trim();
    match named.starts_with('/') {
        // As the process sees it, which may be in a container.
        true => open_directory(process, &format!("root{named}")).ok(),
        false => open_directory(root, named).ok(),
    }
}

/// What `HEAD` says.
fn branch(git: BorrowedFd<'_>) -> Option<String> {
    let head = read(git, "HEAD")?;
    let head = head.trim();
    match head.strip_prefix("ref:") {
        Some(name) => {
            let name = name.trim();
            Some(name.strip_prefix("refs/heads/").unwrap_or(name).to_owned())
        }
        None if head.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Some(head.get(..COMMIT_CHARACTERS)?.to_owned())
        }
        None => None,
    }
}

fn open_directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// A small text file. A pipe or a device that somebody put there in its place is not waited for.
fn read(at: BorrowedFd<'_>, path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(at, path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let mut bytes = vec![0; FILE_BYTES];
    let length = rustix::io::read(&file, &mut bytes).ok()?;
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The worktree that this process would be in if it stood in `directory`.
    fn look(directory: &Path) -> Option<Worktree> {
        let process = open_directory(rustix::fs::CWD, "/proc/self").unwrap();
        let opened = open_directory(rustix::fs::CWD, directory.to_str().unwrap()).unwrap();
        let found = find(process.as_fd(), opened)?;
        Some(Worktree {
            root: above(directory.to_str().unwrap(), found.up)?,
            branch: found.branch,
        })
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_branch_a_linked_worktree_and_a_commit_are_told() {
        let top = tempfile::tempdir().unwrap();
        let (shop, linked) = (top.path().join("shop"), top.path().join("shop-b"));
        write(&shop.join(".git/HEAD"), "ref: refs/heads/main\n");
        fs::create_dir_all(shop.join("web/src")).unwrap();
        let found = look(&shop.join("web/src")).unwrap();
        assert_eq!(found.root, shop.to_str().unwrap());
        assert_eq!(found.branch.as_deref(), Some("main"));

        let git = shop.join(".git/worktrees/shop-b");
        write(&git.join("HEAD"), "ref: refs/heads/fix/cart\n");
        write(
            &linked.join(".git"),
            &format!("gitdir: {}\n", git.display()),
        );
        let found = look(&linked).unwrap();
        assert_eq!(found.root, linked.to_str().unwrap());
        assert_eq!(found.branch.as_deref(), Some("fix/cart"));
        write(
            &linked.join(".git"),
            "gitdir: ../shop/.git/worktrees/shop-b\n",
        );
        assert_eq!(look(&linked), Some(found));

        write(
            &git.join("HEAD"),
            "0123456789abcdef0123456789abcdef01234567\n",
        );
        let found = look(&linked).unwrap();
        assert_eq!(found.branch.as_deref(), Some("0123456789"));
    }

    #[test]
    fn what_is_no_repository_has_no_branch_and_nothing_is_waited_for() {
        let top = tempfile::tempdir().unwrap();
        write(&top.path().join(".git"), "gitdir: nowhere\n");
        assert_eq!(look(top.path()).unwrap().branch, None);
        fs::remove_file(top.path().join(".git")).unwrap();
        fs::create_dir(top.path().join(".git")).unwrap();
        let pipe = top.path().join(".git/HEAD");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(look(top.path()).unwrap().branch, None);
        fs::remove_file(&pipe).unwrap();
        write(&pipe, "not a commit at all\n");
        assert_eq!(look(top.path()).unwrap().branch, None);
    }

    #[test]
    fn a_directory_is_looked_up_once() {
        let process = open_directory(rustix::fs::CWD, "/proc/self").unwrap();
        let here = std::env::current_dir().unwrap();
        let mut worktrees = Worktrees::default();
        let first = worktrees.of(process.as_fd(), here.to_str().unwrap());
        let again = worktrees.of(process.as_fd(), here.to_str().unwrap());
        assert_eq!(again, first);
        assert_eq!(worktrees.0.len(), 1);
    }
}
