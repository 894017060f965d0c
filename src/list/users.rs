//! The names of users: what /etc/passwd says.
//!
//! Names that only a directory service knows are not asked for: that may take long, and a number says it too.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

const PATH: &str = "/etc/passwd";

/// More than this of the file is not read.
const MAX_BYTES: u64 = 4 << 20;

/// Names by user id.
#[derive(Debug, Default)]
pub(crate) struct Users(HashMap<u32, String>);

impl Users {
    /// What /etc/passwd says; nothing if it can't be read.
    pub(crate) fn of_machine() -> Self {
        let mut bytes = Vec::new();
        match File::open(PATH).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&bytes)),
            Err(_) => Self::default(),
        }
    }

    /// Lines of passwd(5): `NAME:PASSWORD:UID:…`. The first name of an id counts.
    fn parse(text: &str) -> Self {
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(_), Some(Ok(uid))) =
                (fields.next(), fields.next(), fields.next().map(str::parse))
            else {
                continue;
            };
            if !name.is_empty() {
                names.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Self(names)
    }

    /// The name of this user.
    pub(crate) fn name(&self, uid: u32) -> Option<String> {
        self.0.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_the_rest_is_passed_over() {
        let users = Users::parse(
            "root:x:0:0:root:/root:/bin/sh\nada:x:1001:1001::/home/ada:/bin/sh\n\
             toor:x:0:0:::\n:x:5:5:::\nbroken\nbroken:x:many:1::\n",
        );
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(1001).as_deref(), Some("ada"));
        assert_eq!(users.name(5), None);
        assert_eq!(users.0.len(), 2);
    }
}
