//! Words as a shell reads them: for command lines that people copy.

/// One word.
pub(crate) fn word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/.:_-@%+=,".contains(letter);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// A command line.
pub(crate) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        assert_eq!(word("tcp/127.0.0.1:3000"), "tcp/127.0.0.1:3000");
        assert_eq!(word("[::1]:80"), "'[::1]:80'");
        assert_eq!(word("a'b; rm"), "'a'\\''b; rm'");
        assert_eq!(word(""), "''");
        assert_eq!(line(["npm", "run", "a b"]), "npm run 'a b'");
    }
}
