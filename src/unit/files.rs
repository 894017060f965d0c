//! The units of the user's systemd: a socket that listens for the daemon, and the daemon, which it starts when it is wanted.
//!
//! To have read: `systemd.socket(5)`, `systemd.service(5)`, `systemd.kill(5)`.

use std::path::Path;

/// The units' names.
pub(super) const SOCKET: &str = "wharf.socket";
pub(super) const SERVICE: &str = "wharf.service";

/// What a file of ours begins with.
pub(super) const MARK: &str = "# Written by `wharf service-install`";

/// The socket. It is where commands look for the daemon.
pub(super) fn socket() -> String {
    format!(
        "{MARK}; `wharf service-install --uninstall` removes it.\n\
         [Unit]\n\
         Description=wharf: where commands ask for its daemon\n\
         \n\
         [Socket]\n\
         ListenStream=%t/wharf/daemon\n\
         SocketMode=0600\n\
         DirectoryMode=0700\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n"
    )
}

/// The daemon. It ends by itself with the last space.
pub(super) fn service(program: &Path) -> String {
    format!(
        "{MARK}; `wharf service-install --uninstall` removes it.\n\
         [Unit]\n\
         Description=wharf: ports for every program\n\
         Requires={SOCKET}\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={} daemon\n\
         # The keepers of spaces outlive it, and wait for the next one.\n\
         KillMode=process\n",
        quoted(&program.to_string_lossy())
    )
}

/// One word of a command line: nothing in it is a specifier, a variable or an escape.
fn quoted(word: &str) -> String {
    let escaped = word
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word() {
        let text = service(Path::new("/home/ada/my \"100%\" $tools\\wharf"));
        let line = text.lines().find(|line| line.starts_with("ExecStart="));
        let expected = r#"ExecStart="/home/ada/my \"100%%\" $$tools\\wharf" daemon"#;
        assert_eq!(line, Some(expected));
    }

    #[test]
    fn both_say_whose_they_are() {
        assert!(socket().starts_with(MARK) && service(Path::new("/wharf")).starts_with(MARK));
    }
}
