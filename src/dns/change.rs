//! Noticing that `resolv.conf` changes: written to, replaced, a link elsewhere, gone, or there at last.
//!
//! To have read: `inotify(7)`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// A watch, which tells of the first change after it was set up.
#[derive(Debug)]
pub(crate) struct Change(AsyncFd<OwnedFd>);

impl Change {
    /// Watches `file` from now on. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Those of inotify(7).
    pub(crate) fn of(file: &Path) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let on = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF;
        for place in places(file) {
            // What went a moment ago can't be watched; its directory tells when it comes.
            inotify::add_watch(&watch, place, on).ok();
        }
        Ok(Self(sys::awaitable(watch)?))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(crate) async fn happens(self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// The file, and the directories in which it, or what it is a link to, is replaced; where one isn't there, the one in which it
/// would appear.
fn places(file: &Path) -> Vec<PathBuf> {
    let target = file.canonicalize().or_else(|_| {
        let target = std::fs::read_link(file)?;
        io::Result::Ok(file.parent().unwrap_or(Path::new("/")).join(target))
    });
    let target = target.unwrap_or_else(|_| file.to_path_buf());
    let nearest = |path: &Path| {
        let above = path.ancestors().skip(1);
        above.map(Path::to_path_buf).find(|path| path.is_dir())
    };
    let mut places = vec![file.to_path_buf()];
    places.extend(nearest(file));
    places.extend(nearest(&target));
    places
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    /// Does `act`, and fails unless that is noticed.
    async fn is_noticed(file: &Path, what: &str, act: impl FnOnce()) {
        let change = Change::of(file).unwrap();
        act();
        let noticed = tokio::time::timeout(Duration::from_secs(30), change.happens()).await;
        assert!(noticed.is_ok(), "{what}");
    }

    #[tokio::test]
    async fn whatever_happens_to_the_file_is_noticed() {
        let top = tempfile::tempdir().unwrap();
        let (etc, run) = (top.path().join("etc"), top.path().join("run/resolve"));
        fs::create_dir(&etc).unwrap();
        let file = etc.join("resolv.conf");
        is_noticed(&file, "it appears", || fs::write(&file, "a").unwrap()).await;
        is_noticed(&file, "it is written to", || fs::write(&file, "b").unwrap()).await;
        let draft = top.path().join("draft");
        fs::write(&draft, "c").unwrap();
        is_noticed(&file, "it is replaced", || {
            fs::rename(&draft, &file).unwrap();
        })
        .await;
        is_noticed(&file, "it goes", || fs::remove_file(&file).unwrap()).await;
        is_noticed(&file, "it is a link to nowhere", || {
            symlink("../run/resolve/stub", &file).unwrap();
        })
        .await;
        fs::create_dir(top.path().join("run")).unwrap();
        is_noticed(&file, "a directory above the target appears", || {
            fs::create_dir(&run).unwrap();
        })
        .await;
        let target = run.join("stub");
        is_noticed(&file, "the target appears", || {
            fs::write(&target, "d").unwrap();
        })
        .await;
        fs::write(&draft, "e").unwrap();
        is_noticed(&file, "the target is replaced", || {
            fs::rename(&draft, &target).unwrap();
        })
        .await;
    }
}
