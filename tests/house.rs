//! The rules of the house that a test can hold (CONTRIBUTING.md says what they are for).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories that are not the project's own text.
const ELSEWHERE: [&str; 3] = [".git", "target", "node_modules"];
/// The people of examples; every other home directory is on somebody's machine.
const EXAMPLE_HOMES: [&str; 4] = ["ada", "adam", "me", "it"];

#[test]
fn every_rust_file_opens_with_what_it_is() {
    for file in rust_files() {
        let text = read(&file);
        assert!(
            text.starts_with("//! "),
            "{} does not open with //!",
            file.display()
        );
    }
}

#[test]
fn unsafe_code_is_only_in_files_called_sys() {
    let word = concat!("un", "safe");
    for file in rust_files()
        .into_iter()
        .filter(|file| file.file_name() != Some("sys.rs".as_ref()))
    {
        for (number, line) in code_of(&read(&file)).lines().enumerate() {
            assert!(
                !has_keyword(line, word),
                "{}:{}: {line}",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn what_must_stay_without_the_system_says_so() {
    for library in ["port", "net"] {
        let text = read(&root().join(format!("crates/{library}/src/lib.rs")));
        for attribute in ["#![no_std]", concat!("#![forbid(un", "safe_code)]")] {
            assert!(text.contains(attribute), "{library} lacks {attribute}");
        }
    }
}

#[test]
fn wire_formats_know_nothing_above_them() {
    let wire = root().join("crates/net/src/wire");
    let files: Vec<_> = rust_files()
        .into_iter()
        .filter(|file| file.starts_with(&wire))
        .collect();
    assert!(files.len() > 5, "the wire formats are somewhere else");
    for file in files {
        // wire/mod.rs is at depth 0: `super` is already above it.
        let inside = file.strip_prefix(&wire).expect("it was found there");
        let depth = inside.components().count() - usize::from(inside.ends_with("mod.rs"));
        for (number, line) in code_of(&read(&file)).lines().enumerate() {
            let climbs = line.contains(&"super::".repeat(depth + 1));
            let from_the_top = line.match_indices("crate::").any(|(at, found)| {
                let rest = &line[at + found.len()..];
                !rest.starts_with("wire::") && !line[..at].ends_with("pub(")
            });
            assert!(
                !climbs && !from_the_top,
                "{}:{}: {line}",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn every_path_that_the_papers_name_exists() {
    for paper in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "bench/README.md",
    ] {
        let text = read(&root().join(paper));
        let links = between(&text, "](", ")")
            .into_iter()
            .filter(|link| !link.contains("://") && !link.starts_with('#'));
        let beside = root()
            .join(paper)
            .parent()
            .expect("a file has a directory")
            .to_path_buf();
        for link in links {
            assert!(
                beside.join(link).exists(),
                "{paper} links to {link}, which is not there"
            );
        }
        for path in between(&text, "`", "`")
            .into_iter()
            .filter(|quoted| is_path(quoted))
        {
            assert!(
                root().join(path).exists(),
                "{paper} names {path}, which is not there"
            );
        }
    }
}

#[test]
fn the_map_has_every_part_of_the_code() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let named: BTreeSet<_> = between(&map, "`", "`").into_iter().collect();
    assert!(named.len() > 20, "the map is not in ARCHITECTURE.md");
    for parent in ["crates", "src", "crates/net/src"] {
        for part in entries(&root().join(parent))
            .into_iter()
            .filter(|part| part.is_dir())
        {
            let part = format!(
                "{}/",
                part.strip_prefix(root()).expect("below the root").display()
            );
            let within = named.iter().any(|path| path.starts_with(&part));
            assert!(within, "ARCHITECTURE.md does not say what {part} is");
        }
    }
}

#[test]
fn every_option_stands_in_the_reference_and_the_manual_and_has_a_test() {
    let reference = read(&root().join("docs/cli.md"));
    let manual = manual();
    let tests: Vec<_> = entries(&root().join("tests"))
        .into_iter()
        .filter(|file| file.is_file() && !file.ends_with("house.rs"))
        .map(|file| read(&file))
        .collect();
    for command in commands() {
        let heading = format!("## `wharf {command}");
        let section = reference
            .split("\n## ")
            .map(|part| format!("## {part}"))
            .find(|part| part.starts_with(&heading));
        let section = section.unwrap_or_else(|| panic!("docs/cli.md has no section {heading}`"));
        let chapter = format!(".SH WHARF {}\n", command.to_uppercase());
        let chapter = manual
            .split_once(&chapter)
            .and_then(|(_, rest)| rest.split("\n.SH ").next())
            .unwrap_or_else(|| panic!("the manual has no chapter on wharf {command}"));
        // Each line has the one or two names of an option.
        for line in help_of(&command).lines() {
            let names: Vec<_> = line
                .split_whitespace()
                .map(|word| word.trim_end_matches(',').trim_end_matches("..."))
                .filter(|word| {
                    word.len() > 1 && word.starts_with('-') && !["-h", "--help"].contains(word)
                })
                .collect();
            for name in &names {
                let (quoted, with_value) = (format!("`{name}`"), format!("`{name} "));
                let stands = section.contains(&quoted) || section.contains(&with_value);
                assert!(stands, "docs/cli.md says nothing of wharf {command} {name}");
                let stands = chapter.contains(&name.replace('-', "\\-"));
                assert!(stands, "the manual says nothing of wharf {command} {name}");
            }
            let tested = tests.iter().any(|test| {
                test.contains(&format!("\"{command}\""))
                    && names
                        .iter()
                        .any(|name| test.contains(&format!("\"{name}\"")))
            });
            assert!(
                names.is_empty() || tested,
                "no test has wharf {command} {names:?}"
            );
        }
    }
}

#[test]
fn every_variable_that_is_read_stands_in_the_reference() {
    let reference = read(&root().join("docs/cli.md"));
    let sources = rust_files()
        .into_iter()
        .filter(|file| file.starts_with(root().join("src")));
    let read_here: BTreeSet<_> = sources
        .filter(|file| !file.ends_with("tests.rs"))
        .flat_map(|file| {
            let text = code_of(&read(&file));
            let ways = ["env::var(\"", "env::var_os(\"", "try_from_env(\""];
            ways.into_iter()
                .flat_map(|way| {
                    between(&text, way, "\"")
                        .into_iter()
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(read_here.contains("WHARF_NAMES_PORT"), "{read_here:?}");
    for variable in read_here {
        assert!(
            reference.contains(&format!("`{variable}`")),
            "docs/cli.md says nothing of {variable}"
        );
    }
}

#[test]
fn ci_installs_what_the_readme_says_and_runs_its_test_command() {
    let (readme, ci) = (
        read(&root().join("README.md")),
        read(&root().join(".ci/run")),
    );
    let packages = |text: &str| -> BTreeSet<String> {
        let lines = text
            .lines()
            .filter_map(|line| line.split_once("apt-get install"));
        lines
            .flat_map(|(_, rest)| words_of(rest))
            .filter(|word| !word.starts_with('-'))
            .collect()
    };
    let wanted = packages(&readme);
    assert!(wanted.contains("gcc"), "README.md has no apt-get line");
    assert!(
        packages(&ci).is_superset(&wanted),
        ".ci/run does not install all of {wanted:?}"
    );
    let command = "cargo test --workspace";
    assert!(readme.contains(command) && ci.contains(command));
}

#[test]
fn every_package_has_the_lints_of_the_workspace() {
    let manifests = files()
        .into_iter()
        .filter(|file| file.file_name() == Some("Cargo.toml".as_ref()));
    for manifest in manifests {
        let text = read(&manifest);
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            manifest.display()
        );
    }
}

#[test]
fn no_file_knows_a_developers_machine() {
    let checkout = root().display().to_string();
    let places = [
        checkout.as_str(),
        concat!("/Us", "ers/"),
        concat!("/root", "/."),
        concat!("file:", "///"),
    ];
    for file in files() {
        // What isn't text has no paths that a person wrote.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        // A checkout at a place as short as /src would be found by chance.
        for place in places.iter().filter(|place| place.len() > 6) {
            assert!(
                !text.contains(place),
                "{} has {place} in it",
                file.display()
            );
        }
        for home in text.split(concat!("/ho", "me/")).skip(1) {
            let name: String = home
                .chars()
                .take_while(|letter| letter.is_alphanumeric())
                .collect();
            let example =
                EXAMPLE_HOMES.contains(&name.as_str()) || !name.is_ascii() || name.contains("very");
            assert!(
                example || name.is_empty(),
                "{} has the home directory of {name} in it",
                file.display()
            );
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .expect("the project can be read")
        .map(|entry| entry.expect("the project can be read").path())
        .collect();
    entries.sort();
    entries
}

/// Every file of the project.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in entries(&directory) {
            let name = entry
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if ELSEWHERE.contains(&name) || entry.is_symlink() {
                continue;
            }
            if entry.is_dir() {
                directories.push(entry)
            } else {
                found.push(entry)
            }
        }
    }
    assert!(found.len() > 50, "this is not the whole project");
    found
}

fn rust_files() -> Vec<PathBuf> {
    let rust = |file: &PathBuf| file.extension() == Some("rs".as_ref());
    files().into_iter().filter(rust).collect()
}

/// The text without line comments; a `//` in a string ends the line too early, which hides nothing of interest.
fn code_of(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn words_of(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether the word stands in the line as the language's, not within another word or in quotes.
fn has_keyword(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at]
            .chars()
            .next_back()
            .is_none_or(|letter| " ({[".contains(letter));
        let after = line[at + word.len()..].chars().next();
        before && after.is_none_or(|letter| " ({".contains(letter))
    })
}

/// What stands between two marks, each time on one line.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((inside, further)) = after.split_once(close) else {
                break;
            };
            found.push(inside);
            rest = further;
        }
    }
    found
}

/// Whether quoted text is meant as a path in the project: it has a directory or a known ending, and no blanks or signs.
fn is_path(quoted: &str) -> bool {
    let plain = quoted
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    let ending = [".rs", ".md", ".toml", ".json"]
        .iter()
        .any(|ending| quoted.ends_with(ending));
    let inside = [
        "src/", "crates/", "tests/", "bench/", "docs/", "dist/", ".ci/",
    ]
    .iter()
    .any(|top| quoted.starts_with(top));
    plain
        && (inside
            || ending && quoted.contains('/') && !quoted.starts_with('/')
            || ending && quoted.starts_with(char::is_uppercase))
}

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(words)
        .arg("--help")
        .output()
        .expect("the binary was built for this test");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What a narrow page has moved to a line of its own stands further in.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        // It has no options, and shows what the others have.
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect();
    assert!(
        commands.iter().any(|command| command == "run"),
        "the help lists no commands:\n{help}"
    );
    commands
}

fn manual() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .arg("man")
        .output()
        .expect("the binary was built for this test");
    String::from_utf8(output.stdout).expect("a manual is text")
}

fn help_of(command: &str) -> String {
    let help = help(&[command]);
    let start = help
        .find("Options:")
        .unwrap_or_else(|| panic!("wharf {command} has no options:\n{help}"));
    // Options only: their descriptions stand further to the right, or in the lines below.
    help[start..]
        .lines()
        .filter(|line| line.trim_start().starts_with('-') && !line.trim_start().starts_with("- "))
        .map(|line| line.trim_start().split("  ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}
