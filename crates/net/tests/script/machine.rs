//! What a script is played on: ours or the kernel.

use std::net::IpAddr;
use std::time::Duration;

use wharf_net::wire::ethernet::Mac;

use super::parse::Family;

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Octets(Vec<u8>),
    Nothing,
    End,
    Error(&'static str),
}

/// A host under test. Calls are about its one socket of the moment: what `connect` or `accept` gave last.
pub(crate) trait Machine {
    /// Time since it began.
    fn now(&self) -> Duration;
    /// The slack that a time has unless it is said.
    fn slack(&self) -> Duration;
    /// How long `*` waits.
    fn patience(&self) -> Duration;
    fn mac(&self) -> Mac;
    fn address(&self, family: Family) -> IpAddr;
    /// A frame from the wire.
    fn give(&mut self, frame: Vec<u8>);
    /// The next frame that the host sends, until then at the latest, and when.
    fn sent(&mut self, until: Duration) -> Option<(Duration, Vec<u8>)>;
    fn listen(&mut self, family: Family, port: u16, backlog: usize);
    /// Begins to connect; the port chosen.
    fn connect(&mut self, to: IpAddr, port: u16) -> u16;
    /// Whether there was something to accept.
    fn accept(&mut self) -> bool;
    fn is_connected(&mut self) -> bool;
    /// How much was taken.
    fn write(&mut self, octets: &[u8]) -> usize;
    fn read(&mut self, count: usize) -> Read;
    fn error(&mut self) -> &'static str;
    fn shutdown(&mut self);
    fn close(&mut self);
    fn abort(&mut self);
    /// Whether there is such a setting.
    fn set(&mut self, words: &[String]) -> bool;
}
