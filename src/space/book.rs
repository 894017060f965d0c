//! The book of spaces: which project has which name and number, kept over restarts in the state directory.
//!
//! The number gives every address of a space: 10.77.x.y, its IPv6 twin and its face 127.77.x.y. It is drawn from the
//! project's path, so that it stays the same even where the book is lost, and moved on only where it is taken.

use std::ffi::OsStr;
use std::fs;
use std::hash::Hasher;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::name::{is_label, label};
use crate::protocol::Target;

/// A space's number: x and y of 10.77.x.y, both 1–254.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number(u16);

impl Number {
    /// How many there are; as many spaces can be in the book.
    const COUNT: u16 = 254 * 254 - 1;

    /// The `nth` number, counted modulo all. 10.77.1.1 stays free, it is too like the gateway's.
    fn nth(n: u64) -> Self {
        let n = u16::try_from(n % u64::from(Self::COUNT)).expect("less than COUNT") + 1;
        Self((n / 254 + 1) << 8 | (n % 254 + 1))
    }

    /// The space's address inside: 10.77.x.y.
    pub(crate) fn ipv4(self) -> Ipv4Addr {
        let [x, y] = self.0.to_be_bytes();
        Ipv4Addr::new(10, 77, x, y)
    }

    /// The address of the machine's loopback at which the space's ports are published: 127.77.x.y.
    pub(crate) fn face(self) -> Ipv4Addr {
        let [x, y] = self.0.to_be_bytes();
        Ipv4Addr::new(127, 77, x, y)
    }

    /// The space's IPv6 address inside: fd77:7761:7266::x:y.
    pub(crate) fn ipv6(self) -> Ipv6Addr {
        let [x, y] = self.0.to_be_bytes();
        Ipv6Addr::new(0xfd77, 0x7761, 0x7266, 0, 0, 0, x.into(), y.into())
    }
}

/// One space of the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its name, a DNS label, one of a kind.
    pub(crate) name: String,
    /// Its project; none if it was only ever named.
    pub(crate) directory: Option<PathBuf>,
    /// Its number, one of a kind.
    pub(crate) number: Number,
}

/// The book, as it stands in its file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    #[serde(skip)]
    file: PathBuf,
    spaces: Vec<Entry>,
}

impl Book {
    /// Reads the book; a missing file is an empty book, an unreadable one is an error that leaves it alone.
    pub(crate) fn open(file: PathBuf) -> Result<Self> {
        let mut book: Self = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; mend or remove it (addresses may then change)",
                    file.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        book.file = file;
        Ok(book)
    }

    /// The entry that `target` means, if it is in the book.
    pub(crate) fn find(&self, target: &Target) -> Option<&Entry> {
        self.spaces.iter().find(|entry| match target {
            Target::Name(name) => entry.name == *name,
            Target::Directory(directory) => entry.directory.as_ref() == Some(directory),
            Target::All => false,
        })
    }

    /// The entry that `target` means, entered and saved if it is new. Entries of removed projects make room, unless
    /// they are `running`. A project that wants another `name` than it had gets it when it isn't running.
    pub(crate) fn enter(
        &mut self,
        target: &Target,
        name: Option<&str>,
        running: impl Fn(&str) -> bool,
    ) -> Result<Entry> {
        if let Some(entry) = self.find(target).cloned() {
            return match (target, name) {
                (Target::Directory(directory), Some(name)) if !running(&entry.name) => {
                    self.renamed(entry, directory, name)
                }
                _ => Ok(entry),
            };
        }
        self.forget_removed_projects(running);
        let entry = match target {
            Target::Name(name) => self.entry(checked(name)?, None)?,
            Target::Directory(directory) => {
                let base = match name {
                    Some(name) => checked(name)?,
                    None => label(&directory.file_name().unwrap_or_default().to_string_lossy()),
                };
                self.entry(self.free_name(&base), Some(directory))?
            }
            Target::All => bail!("one space must be named"),
        };
        self.spaces.push(entry.clone());
        self.save()?;
        Ok(entry)
    }

    fn entry(&self, name: String, directory: Option<&Path>) -> Result<Entry> {
        let mut hasher = siphasher::sip::SipHasher13::new();
        let key = directory.map_or(OsStr::new(&name), Path::as_os_str);
        hasher.write(key.as_encoded_bytes());
        let start = hasher.finish();
        let taken = |number: &Number| self.spaces.iter().any(|entry| entry.number == *number);
        let number = (0..u64::from(Number::COUNT))
            .map(|step| Number::nth(start.wrapping_add(step)))
            .find(|number| !taken(number))
            .context("every address of 10.77.0.0/16 is given to a space; remove projects that are no more")?;
        Ok(Entry {
            name,
            directory: directory.map(Path::to_path_buf),
            number,
        })
    }

    /// Gives a project the name that it wants, unless it has it, or has it with a number behind it.
    fn renamed(&mut self, entry: Entry, directory: &Path, name: &str) -> Result<Entry> {
        let base = checked(name)?;
        if names(&base)
            .take(self.spaces.len() + 1)
            .any(|name| name == entry.name)
        {
            return Ok(entry);
        }
        let name = self.free_name(&base);
        let found = self
            .spaces
            .iter_mut()
            .find(|one| one.directory.as_deref() == Some(directory))
            .expect("the entry was found in the book");
        found.name = name;
        let entry = found.clone();
        self.save()?;
        Ok(entry)
    }

    /// The name, with a number behind it if another space has it.
    fn free_name(&self, base: &str) -> String {
        let free = |name: &String| !self.spaces.iter().any(|entry| entry.name == *name);
        names(base)
            .find(free)
            .expect("there are more numbers than entries")
    }

    fn forget_removed_projects(&mut self, running: impl Fn(&str) -> bool) {
        let gone = |directory: &PathBuf| {
            fs::metadata(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        self.spaces
            .retain(|entry| running(&entry.name) || !entry.directory.as_ref().is_some_and(gone));
    }

    /// Writes beside and renames, so that a crash leaves the old book or the new one.
    fn save(&self) -> Result<()> {
        let beside = self.file.with_extension("new");
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&beside, bytes))
            .and_then(|()| fs::rename(&beside, &self.file));
        written.with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// The name, and the same with 2, 3, … behind it.
fn names(base: &str) -> impl Iterator<Item = String> {
    let numbered = (2..).map(move |n: u32| {
        let end = format!("-{n}");
        let cut = base.len().min(63 - end.len());
        format!("{}{end}", base[..cut].trim_end_matches('-'))
    });
    std::iter::once(base.to_owned()).chain(numbered)
}

/// `name` if it can be a space's.
fn checked(name: &str) -> Result<String> {
    if !is_label(name) {
        let made = label(name);
        return Err(Failure::usage(format!(
                "a space's name is a DNS label (a–z, 0–9, -, at most 63): {name:?} is not, {made:?} would be"
            ))
        .into());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn book(directory: &Path) -> Book {
        Book::open(directory.join("spaces.json")).unwrap()
    }

    #[test]
    fn numbers_are_distinct_and_stay_clear_of_the_gateway() {
        let all: HashSet<_> = (0..Number::COUNT.into())
            .map(|n| Number::nth(n).ipv4())
            .collect();
        assert_eq!(all.len(), usize::from(Number::COUNT));
        assert!(all.iter().all(|address| {
            let [.., x, y] = address.octets();
            (1..=254).contains(&x) && (1..=254).contains(&y)
        }));
    }

    #[test]
    fn a_project_keeps_its_name_and_number_over_restarts() {
        let top = tempfile::tempdir().unwrap();
        let target = Target::Directory(top.path().to_path_buf());
        let first = book(top.path()).enter(&target, None, |_| false).unwrap();
        assert_eq!(
            book(top.path()).enter(&target, None, |_| false).unwrap(),
            first
        );
        fs::remove_file(top.path().join("spaces.json")).unwrap();
        assert_eq!(
            book(top.path()).enter(&target, None, |_| false).unwrap(),
            first
        );
    }

    #[test]
    fn two_projects_of_one_name_are_told_apart() {
        let top = tempfile::tempdir().unwrap();
        let (a, b) = (top.path().join("a/shop"), top.path().join("b/shop"));
        for directory in [&a, &b] {
            fs::create_dir_all(directory).unwrap();
        }
        let mut book = book(top.path());
        let first = book.enter(&Target::Directory(a), None, |_| false).unwrap();
        let second = book.enter(&Target::Directory(b), None, |_| false).unwrap();
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("shop", "shop-2")
        );
        assert_ne!(first.number, second.number);
        assert_eq!(
            book.enter(&Target::Name("shop-2".into()), None, |_| false)
                .unwrap(),
            second
        );
    }

    #[test]
    fn a_project_gets_the_name_that_it_wants_once_nothing_runs_in_it() {
        let top = tempfile::tempdir().unwrap();
        let (a, b) = (top.path().join("a"), top.path().join("b"));
        for directory in [&a, &b] {
            fs::create_dir_all(directory).unwrap();
        }
        let mut book = book(top.path());
        let mut enter = |directory: &Path, name, running: bool| {
            let target = Target::Directory(directory.to_path_buf());
            book.enter(&target, name, |_| running).unwrap()
        };
        let first = enter(&a, None, false);
        assert_eq!(enter(&a, Some("shop"), true).name, "a");
        let renamed = enter(&a, Some("shop"), false);
        assert_eq!(
            (renamed.name.as_str(), renamed.number),
            ("shop", first.number)
        );
        // A worktree has the same file, and keeps the name that it got.
        assert_eq!(enter(&b, Some("shop"), false).name, "shop-2");
        assert_eq!(enter(&b, Some("shop"), false).name, "shop-2");
        assert_eq!(enter(&a, None, false).name, "shop");
        assert_eq!(
            Book::open(top.path().join("spaces.json")).unwrap().spaces,
            book.spaces
        );
    }

    #[test]
    fn a_name_that_is_no_label_is_refused_with_one_that_is() {
        let top = tempfile::tempdir().unwrap();
        let error = book(top.path())
            .enter(&Target::Name("My Shop".into()), None, |_| false)
            .unwrap_err();
        assert!(
            error.to_string().contains("\"my-shop\" would be"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_book_is_reported_and_left_alone() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("spaces.json");
        fs::write(&file, "{").unwrap();
        assert!(
            Book::open(file.clone())
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
        assert_eq!(fs::read(&file).unwrap(), b"{");
    }
}
