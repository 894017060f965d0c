//! What the recorder did besides single calls: see who gets what is sent, fill a listener's queue, wait for TIME-WAIT.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use wharf_net::{Host, SocketId};
use wharf_port::table::{Cursor, Holding, State};
use wharf_port::{Endpoint, Port, Protocol};

use super::machine::{Answer, Machine, PATIENCE, done};

impl Machine {
    pub(super) fn await_timewait(&mut self, port: Option<Port>) -> Answer {
        let rests = |host: &Host| {
            let mut resting = holdings(host);
            resting
                .any(|holding| holding.port == port && matches!(holding.state, State::TimeWait(..)))
        };
        let found = self.wait(PATIENCE, |host| rests(host).then_some(()));
        found.ok_or("ETIMEDOUT").and_then(done)
    }

    pub(super) fn probe_tcp(&mut self, to: IpAddr, remote: Endpoint) -> Answer {
        let client = self.fresh(to)?;
        let connected = self.connect(client, remote);
        let local = self.host.flow(client).map(|flow| flow.local);
        let mut answer = connected.and(Err("EAGAIN"));
        for (name, socket) in &self.sockets {
            while let Ok(accepted) = self.host.accept(socket.id) {
                if self.host.flow(accepted).map(|flow| flow.remote) == local {
                    answer = Ok(name.clone());
                }
                self.host.abort(self.now, accepted);
                self.host.close(self.now, accepted);
            }
        }
        self.host.abort(self.now, client);
        self.host.close(self.now, client);
        self.settle();
        answer
    }

    pub(super) fn probe_udp(&mut self, from: &str, remote: Endpoint) -> Answer {
        let from = self.find(from)?.id;
        let probe = Bytes::from_static(b"who gets this?");
        let sent = self
            .host
            .send_to(self.now, from, Some(remote), probe.clone());
        if sent.is_err() {
            // What is told first may be about an earlier one.
            let again = self
                .host
                .send_to(self.now, from, Some(remote), probe.clone());
            again.map_err(|_| "none")?;
        }
        self.settle();
        let mut answer = "none".to_owned();
        for (name, socket) in &self.sockets {
            if socket.protocol != Protocol::Udp {
                continue;
            }
            while let Ok(received) = self.host.recv_from(socket.id) {
                if received.payload == probe {
                    answer.clone_from(name);
                }
            }
        }
        Ok(answer)
    }

    pub(super) fn fill(
        &mut self,
        to: IpAddr,
        remote: Endpoint,
        max: usize,
        patience: Duration,
    ) -> Answer {
        for count in 0..max {
            let client = self.fresh(to)?;
            if self.connect_within(client, remote, patience).is_err() {
                return Ok(count.to_string());
            }
        }
        Ok(max.to_string())
    }

    pub(super) fn state_of(&self, id: SocketId) -> Option<State> {
        let mut holdings = holdings(&self.host);
        let found = holdings.find(|holding| holding.owner == id);
        found.map(|holding| holding.state)
    }
}

/// All that is in the host's port table.
fn holdings(host: &Host) -> impl Iterator<Item = Holding<SocketId>> {
    let mut next = Some(Cursor::default());
    let pages = std::iter::from_fn(move || {
        let (page, cursor) = host.ports().page(next?, 64);
        next = cursor;
        Some(page)
    });
    pages.flatten()
}
