//! Test programs in C and Go, built when they are needed: static ones, and ones with runtimes of their own.

use std::path::PathBuf;
use std::process::Command;

use super::{Skipped, World};

const C: &str = include_str!("../programs/binds.c");

impl World {
    /// The C program, built with these flags as well, where the world's user can run it.
    pub(crate) fn in_c(&self, flags: &[&str]) -> Result<PathBuf, Skipped> {
        self.needs("gcc")?;
        let source = self.home().join("binds.c");
        std::fs::write(&source, C).unwrap();
        let program = self.home().join("binds");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-static", "-pthread", "-o"]);
        let built = gcc.arg(&program).arg(&source).args(flags).output().unwrap();
        if !built.status.success() {
            let why = String::from_utf8_lossy(&built.stderr);
            return Err(Skipped(format!("gcc {flags:?}: {}", why.trim())));
        }
        Ok(program)
    }

    /// A Go program of this source.
    pub(crate) fn in_go(&self, source: &str) -> Result<PathBuf, Skipped> {
        let go = self.needs("go")?;
        let (file, program) = (self.home().join("main.go"), self.home().join("in-go"));
        std::fs::write(&file, source).unwrap();
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go");
        let built = Command::new(go)
            .args(["build", "-o"])
            .args([&program, &file])
            .env("GOCACHE", cache)
            .env("GOPATH", self.home().join("go"))
            .env("CGO_ENABLED", "0")
            .output()
            .unwrap();
        if !built.status.success() {
            let why = String::from_utf8_lossy(&built.stderr);
            return Err(Skipped(format!("go build: {}", why.trim())));
        }
        Ok(program)
    }
}
