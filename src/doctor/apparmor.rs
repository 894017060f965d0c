//! The AppArmor profile that Ubuntu wants before it grants user namespaces.
//!
//! The profile as packages install it is `dist/apparmor/wharf`; here it is
//! made out to wherever this program's file lies.
//!
//! To have read: `apparmor.d(5)`.

use std::path::Path;

/// The profile for a wharf in `/usr/bin`.
const SHIPPED: &str = include_str!("../../dist/apparmor/wharf");

/// Where the shipped profile expects the program, as it stands in the profile.
const SHIPPED_BINARY: &str = "\"/usr/bin/wharf\"";

/// The profile for the program at this path, which `wharf doctor --apparmor` prints.
pub(crate) fn profile(binary: &Path) -> String {
    SHIPPED.replace(SHIPPED_BINARY, &attachment(&binary.to_string_lossy()))
}

/// The commands that install the profile for the program at this path.
pub(super) fn install(binary: &Path) -> String {
    let binary = quoted(&binary.to_string_lossy());
    format!(
        "{binary} doctor --apparmor | sudo tee /etc/apparmor.d/wharf > /dev/null\n\
         sudo apparmor_parser -r /etc/apparmor.d/wharf"
    )
}

/// A path as a profile's attachment: quoted, and with nothing taken for a pattern.
fn attachment(path: &str) -> String {
    let mut attachment = String::from("\"");
    for character in path.chars() {
        if "\\\"*?[]{}^@".contains(character) {
            attachment.push('\\');
        }
        attachment.push(character);
    }
    attachment.push('"');
    attachment
}

/// A path as a word of a shell's command line.
fn quoted(path: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_this_binary_and_nothing_else_changes() {
        assert_eq!(profile(Path::new("/usr/bin/wharf")), SHIPPED);
        let elsewhere = profile(Path::new("/home/ada/my bin/wharf"));
        assert!(
            elsewhere.contains("profile wharf \"/home/ada/my bin/wharf\" flags=(unconfined) {")
        );
        assert!(elsewhere.contains("  userns,\n"));
        assert!(!elsewhere.contains("\"/usr/bin/wharf\""));
        assert_eq!(elsewhere.lines().count(), SHIPPED.lines().count());
    }

    #[test]
    fn a_path_is_no_pattern() {
        assert_eq!(
            attachment("/a*/{b,c}[1]?^\"\\@"),
            r#""/a\*/\{b,c\}\[1\]\?\^\"\\\@""#
        );
    }

    #[test]
    fn the_commands_work_for_a_path_with_blanks_and_quotes() {
        let commands = install(Path::new("/home/ada's/my bin/wharf"));
        assert!(
            commands.starts_with(r"'/home/ada'\''s/my bin/wharf' doctor --apparmor | sudo tee")
        );
        let commands = install(Path::new("/opt/wharf-1.0/wharf"));
        assert!(commands.starts_with("/opt/wharf-1.0/wharf doctor"));
    }
}
