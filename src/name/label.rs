//! Names of spaces: DNS labels, made from the names of directories.
//!
//! RFC 1123 §2.1 (letters, digits, hyphens; not at the ends), RFC 1035 §2.3.4 (63 bytes), RFC 5891
//! §4.2.3.1 (no hyphens in the third and fourth place, which is where encoded international names
//! have theirs).

use deunicode::deunicode_char;

/// The longest DNS label, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Names that mean something else in by-name URLs (`wharf.localhost`) or DNS (`host.internal`).
const RESERVED: [&str; 5] = ["gateway", "host", "internal", "localhost", "wharf"];

/// What a name gets that would be empty or is reserved.
const FALLBACK: &str = "space";

/// Whether a name can't be a space's, because wharf itself answers to it.
fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// Whether a name is fit to be a space's as it stands: a DNS label in lower case, not reserved.
pub(crate) fn is_label(name: &str) -> bool {
    label(name) == name
}

/// Makes a space's name from any text, usually a directory's name.
///
/// Letters outside ASCII are spelled with those inside; everything else that isn't a letter or
/// digit separates words. The result is always a valid label: `My Shop_2` → `my-shop-2`, `Café` →
/// `cafe`, nothing usable → `space`, a reserved name → `wharf-space`. Different texts may give the
/// same label, so the caller makes them unique.
pub(crate) fn label(text: &str) -> String {
    let mut label = String::new();
    for letter in text.chars() {
        match deunicode_char(letter) {
            // Syllables of scripts without letters come as "Shang ": the blank separates words.
            Some(spelling) => spelling.chars().for_each(|c| push(&mut label, c)),
            None => push(&mut label, '-'),
        }
    }
    label.truncate(LABEL_MAX);
    label.truncate(label.trim_end_matches('-').len());
    match label {
        empty if empty.is_empty() => FALLBACK.to_owned(),
        reserved if is_reserved(&reserved) => format!("{reserved}-{FALLBACK}"),
        label => label,
    }
}

/// Appends a character, or at most one hyphen for all that stand between two words.
fn push(label: &mut String, c: char) {
    if c.is_ascii_alphanumeric() {
        label.push(c.to_ascii_lowercase());
    } else if !label.is_empty() && !label.ends_with('-') {
        label.push('-');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directories_become_labels() {
        let cases = [
            ("shop", "shop"),
            ("My Shop_2", "my-shop-2"),
            ("-.shop.-", "shop"),
            ("a--b", "a-b"),
            ("xn--caf-dma", "xn-caf-dma"),
            ("Café Ünïcode", "cafe-unicode"),
            ("商店", "shang-dian"),
            ("2024", "2024"),
            ("", "space"),
            ("/", "space"),
            ("\u{0}\u{7f}", "space"),
            ("Wharf", "wharf-space"),
            ("host", "host-space"),
        ];
        for (text, expected) in cases {
            assert_eq!(label(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_does_not_end_in_a_hyphen() {
        let text = format!("{} {}", "a".repeat(62), "b".repeat(62));
        assert_eq!(label(&text), "a".repeat(62));
        assert_eq!(label(&"c".repeat(100)).len(), 63);
    }

    #[test]
    fn only_labels_are_fit_as_they_stand() {
        assert!(is_label("shop-2"));
        for unfit in ["Shop", "a.b", "a--b", "", "wharf", "-a", "é"] {
            assert!(!is_label(unfit), "{unfit:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_valid_label(text in any::<String>()) {
            let label = label(&text);
            prop_assert!(!label.is_empty() && label.len() <= LABEL_MAX);
            prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!label.starts_with('-') && !label.ends_with('-') && !label.contains("--"));
            prop_assert!(!is_reserved(&label));
            prop_assert!(is_label(&label), "a label is its own label");
        }
    }
}
