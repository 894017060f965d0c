//! What the daemon tells of ports, heard as a command would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::DEADLINE;
use super::world::World;

/// A conversation with the daemon in which it tells events.
#[derive(Debug)]
pub(crate) struct Events(UnixStream);

impl Events {
    /// Follows the events of all spaces from now on. A daemon must run.
    #[track_caller]
    pub(crate) fn follow(world: &World) -> Self {
        let mut socket = UnixStream::connect(world.runtime().join("daemon")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = json!({"version": 3, "ask": {"Events": {"space": null}}}).to_string();
        let length = u32::try_from(request.len()).unwrap();
        socket.write_all(&length.to_le_bytes()).unwrap();
        // No descriptors.
        socket.write_all(&[0]).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut events = Self(socket);
        assert_eq!(events.next(), json!("Following"));
        events
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        let mut prefix = [0; 5];
        self.0
            .read_exact(&mut prefix)
            .expect("no event within the deadline");
        let length = u32::from_le_bytes(prefix[..4].try_into().unwrap());
        let mut message = vec![0; length as usize];
        self.0.read_exact(&mut message).unwrap();
        let mut news: Value = serde_json::from_slice(&message).unwrap();
        match news.get_mut("event") {
            Some(event) => event.take(),
            None => news,
        }
    }

    /// The next event about this port.
    #[track_caller]
    pub(crate) fn about(&mut self, port: u16) -> Value {
        loop {
            let event = self.next();
            if event["port"] == port {
                return event;
            }
        }
    }
}
