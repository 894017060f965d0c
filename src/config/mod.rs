//! `wharf.toml`: what a project wants of wharf, in a file of its own (`docs/wharf.toml.md`).
//!
//! It is found upward from the directory that a command is typed in. Whatever is in it is checked before anything is done;
//! what is not understood is an error with its line and column, never passed over.

mod read;

use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::binding::policy::Policy;
use crate::failure::Failure;
use crate::publish::wish::Wish;

/// The file's name.
pub(crate) const FILE: &str = "wharf.toml";

/// What a project wants; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The name of its space.
    pub(crate) name: Option<String>,
    /// The machine's TCP ports to let in.
    pub(crate) from_host: Vec<NonZeroU16>,
    /// Its ports to publish.
    pub(crate) publish: Vec<Wish>,
    /// Whether its space has nothing to do with other spaces; `None` if it doesn't say.
    pub(crate) isolated: Option<bool>,
    /// Its rules about ports; `None` if there is no file that could have some.
    pub(crate) policy: Option<Policy>,
}

/// The file that holds for `directory`: the nearest upward, up to the root of the git worktree or the home directory.
/// Outside of both, only `directory` itself is looked at: what lies above may be anybody's.
pub(crate) fn find(directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let ends = |candidate: &Path| candidate.join(".git").symlink_metadata().is_ok();
    let last = directory
        .ancestors()
        .find(|candidate| ends(candidate) || Some(*candidate) == home)
        .unwrap_or(directory);
    directory
        .ancestors()
        .take_while(|candidate| candidate.starts_with(last))
        .map(|candidate| candidate.join(FILE))
        .find(|file| file.is_file())
}

/// What the file that holds for the current directory says.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_here() -> Result<Config> {
    of(&std::env::current_dir().context("cannot tell the current directory")?)
}

/// What the file that holds for `directory` says; nothing wanted if there is none.
///
/// # Errors
/// When it can't be read, or says what can't be understood: then with exit status 2.
pub(crate) fn of(directory: &Path) -> Result<Config> {
    let home = std::env::home_dir();
    let Some(file) = find(directory, home.as_deref()) else {
        return Ok(Config::default());
    };
    let text = match fs::read(&file) {
        Ok(text) => text,
        // It was there a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let read = read::utf8(&text)
        .and_then(read::read)
        .map_err(|fault| Failure::usage(format!("{}:{fault}", file.display())));
    Ok(read?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_holds_up_to_the_worktree_or_home() {
        let top = tempfile::tempdir().unwrap();
        let home = top.path().join("ada");
        let (tree, deep) = (home.join("shop"), home.join("shop/src/deep"));
        fs::create_dir_all(&deep).unwrap();
        let found = |directory: &Path| find(directory, Some(&home));
        fs::write(top.path().join(FILE), "").unwrap();
        assert_eq!(found(&deep), None);
        fs::write(home.join(FILE), "").unwrap();
        assert_eq!(found(&deep), Some(home.join(FILE)));
        fs::create_dir(tree.join(".git")).unwrap();
        assert_eq!(found(&deep), None);
        fs::write(tree.join(FILE), "").unwrap();
        assert_eq!(found(&deep), Some(tree.join(FILE)));
        fs::write(tree.join("src").join(FILE), "").unwrap();
        assert_eq!(found(&deep), Some(tree.join("src").join(FILE)));
        let elsewhere = top.path().join("else/where");
        fs::create_dir_all(&elsewhere).unwrap();
        assert_eq!(found(&elsewhere), None);
        fs::write(elsewhere.join(FILE), "").unwrap();
        assert_eq!(found(&elsewhere), Some(elsewhere.join(FILE)));
    }
}
