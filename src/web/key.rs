//! Who may look: keys to the page, and tickets that are exchanged for one.
//!
//! The address that `wharf web` prints carries a ticket, which is good for one use and for a while: addresses are seen by
//! others, in a process list or over a shoulder. The page exchanges it for the key, which no address ever has. Both are gone
//! with the daemon.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// How long a ticket is good for.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// Tickets that may be out; a further one takes the oldest one's place.
const TICKETS_MAX: usize = 16;

/// The key, and the tickets that are out.
#[derive(Debug)]
pub(crate) struct Keys {
    key: Secret,
    tickets: VecDeque<(Secret, Instant)>,
}

impl Keys {
    /// A new key.
    ///
    /// # Errors
    /// If the kernel has no randomness to give.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            key: Secret::new()?,
            tickets: VecDeque::new(),
        })
    }

    /// One more ticket.
    ///
    /// # Errors
    /// As [`Keys::new`].
    pub(crate) fn ticket(&mut self, now: Instant) -> io::Result<String> {
        let ticket = Secret::new()?;
        let text = ticket.0.clone();
        self.tickets.push_back((ticket, now));
        if self.tickets.len() > TICKETS_MAX {
            self.tickets.pop_front();
        }
        Ok(text)
    }

    /// Takes a ticket for the key; `None` if it isn't one, has been used, or is too old.
    pub(crate) fn exchange(&mut self, ticket: &str, now: Instant) -> Option<String> {
        self.tickets
            .retain(|(_, issued)| now.duration_since(*issued) < GOOD_FOR);
        let at = self.tickets.iter().position(|(good, _)| good.is(ticket))?;
        self.tickets.remove(at);
        Some(self.key.0.clone())
    }

    /// Whether this is the key.
    pub(crate) fn opens(&self, key: &str) -> bool {
        self.key.is(key)
    }
}

/// 256 bits that nobody guesses, in hexadecimal.
struct Secret(String);

impl Secret {
    fn new() -> io::Result<Self> {
        let mut bytes = [0_u8; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// Whether somebody knows it. How long that takes tells nothing of how much of it they know.
    fn is(&self, said: &str) -> bool {
        self.0.as_bytes().ct_eq(said.as_bytes()).into()
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once() {
        let (now, mut keys) = (Instant::now(), Keys::new().unwrap());
        let (one, other) = (keys.ticket(now).unwrap(), keys.ticket(now).unwrap());
        assert_eq!(keys.exchange("", now), None);
        assert_eq!(keys.exchange(&one[1..], now), None);
        let key = keys.exchange(&one, now).unwrap();
        assert_eq!(keys.exchange(&one, now), None);
        assert!(keys.opens(&key));
        assert!(!keys.opens(&other) && !keys.opens("") && !keys.opens(&key[1..]));
        assert_eq!(keys.exchange(&other, now), Some(key));
    }

    #[test]
    fn a_ticket_is_good_for_a_while_and_few_are_out() {
        let (now, mut keys) = (Instant::now(), Keys::new().unwrap());
        let old = keys.ticket(now).unwrap();
        assert_eq!(keys.exchange(&old, now + GOOD_FOR), None);
        let first = keys.ticket(now).unwrap();
        let all: Vec<_> = (0..TICKETS_MAX)
            .map(|_| keys.ticket(now).unwrap())
            .collect();
        assert_eq!(keys.exchange(&first, now), None);
        assert!(all.iter().all(|good| keys.exchange(good, now).is_some()));
    }

    #[test]
    fn every_daemon_has_another_key_and_shows_it_to_nobody() {
        let now = Instant::now();
        let key = |keys: &mut Keys| {
            let ticket = keys.ticket(now).unwrap();
            keys.exchange(&ticket, now).unwrap()
        };
        let (mut one, mut other) = (Keys::new().unwrap(), Keys::new().unwrap());
        let (first, second) = (key(&mut one), key(&mut other));
        assert_eq!(first.len(), 64);
        assert_ne!(first, second);
        assert!(!one.opens(&second));
        assert!(!format!("{one:?}").contains(&first));
    }
}
