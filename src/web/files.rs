//! The page's files, which are part of the program.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $kind:expr) => {
        File {
            path: concat!("/", $path),
            kind: $kind,
            text: include_str!(concat!("page/", $path)),
        }
    };
}

const FILES: &[File] = &[
    File {
        path: "/",
        ..file!("index.html", "text/html; charset=utf-8")
    },
    file!("page.css", "text/css; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
    file!("page.js", SCRIPT),
    file!("actions.js", SCRIPT),
    file!("connection.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("lines.js", SCRIPT),
    file!("model.js", SCRIPT),
    file!("news.js", SCRIPT),
    file!("routes.js", SCRIPT),
    file!("spaces.js", SCRIPT),
    file!("words.js", SCRIPT),
];

/// The file at a path.
pub(super) fn at(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands between quotation marks behind `before`.
    fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts.filter_map(|part| part.split('"').next()).collect()
    }

    #[test]
    fn every_file_that_the_page_names_is_served_and_nothing_from_elsewhere() {
        for file in FILES {
            for before in ["src=\"", "href=\"", "from \"", "import \""] {
                for name in named(file.text, before) {
                    // Links to the machine's own servers are the only ones that lead away.
                    if name.starts_with("http://localhost") {
                        continue;
                    }
                    let name = name.trim_start_matches(['.', '/']);
                    assert!(
                        name.is_empty()
                            || name.starts_with('#')
                            || at(&format!("/{name}")).is_some(),
                        "{} names {name}",
                        file.path
                    );
                }
            }
            assert!(!file.text.contains("//cdn"), "{}", file.path);
        }
    }

    #[test]
    fn no_file_has_what_the_policy_forbids() {
        for file in FILES {
            for forbidden in [
                "<style",
                " style=\"",
                " onclick=",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(
                    !file.text.contains(forbidden),
                    "{} has {forbidden}",
                    file.path
                );
            }
        }
        let page = at("/").unwrap().text;
        assert!(
            page.matches("<script").count() == page.matches("<script type=\"module\" src=").count(),
            "a script of the page is not a file of its own"
        );
    }
}
