//! Which project a directory belongs to: where its `wharf.toml` is, else the root of its git worktree, else the directory
//! itself.
//!
//! Branches don't matter, worktrees do: each has a `.git` of its own (a directory, or a file in a linked worktree).

use std::path::{Path, PathBuf};

use crate::config;

/// The directory of the `wharf.toml` that holds for `directory`, else the root of the git worktree that holds it, else
/// `directory`.
pub(crate) fn root(directory: &Path) -> PathBuf {
    root_below(directory, std::env::home_dir().as_deref())
}

fn root_below(directory: &Path, home: Option<&Path>) -> PathBuf {
    if let Some(file) = config::find(directory, home)
        && let Some(parent) = file.parent()
    {
        return parent.to_path_buf();
    }
    let holds_git = |candidate: &&Path| candidate.join(".git").symlink_metadata().is_ok();
    directory
        .ancestors()
        .find(holds_git)
        .unwrap_or(directory)
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_worktree_is_one_project_and_its_linked_worktree_another() {
        let top = tempfile::tempdir().unwrap();
        let (main, linked) = (top.path().join("shop"), top.path().join("shop-b"));
        fs::create_dir_all(main.join(".git")).unwrap();
        fs::create_dir_all(main.join("src/deep")).unwrap();
        fs::create_dir_all(linked.join("src")).unwrap();
        fs::write(
            linked.join(".git"),
            "gitdir: ../shop/.git/worktrees/shop-b\n",
        )
        .unwrap();
        assert_eq!(root_below(&main.join("src/deep"), None), main);
        assert_eq!(root_below(&linked.join("src"), None), linked);
        assert_eq!(root_below(top.path(), None), top.path());
    }

    #[test]
    fn a_part_of_a_worktree_with_a_file_of_its_own_is_a_project() {
        let top = tempfile::tempdir().unwrap();
        let part = top.path().join("front");
        fs::create_dir_all(top.path().join(".git")).unwrap();
        fs::create_dir_all(part.join("src")).unwrap();
        fs::write(part.join(config::FILE), "").unwrap();
        assert_eq!(root_below(&part.join("src"), None), part);
        assert_eq!(root_below(top.path(), None), top.path());
    }
}
