//! Which project a directory belongs to: the root of its git worktree, else the directory itself.
//!
//! Branches don't matter, worktrees do: each has a `.git` of its own (a directory, or a file in a linked worktree).

use std::path::{Path, PathBuf};

/// The root of the git worktree that holds `directory`, else `directory`.
pub(crate) fn root(directory: &Path) -> PathBuf {
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
        assert_eq!(root(&main.join("src/deep")), main);
        assert_eq!(root(&linked.join("src")), linked);
        assert_eq!(root(top.path()), top.path());
    }
}
