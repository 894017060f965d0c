//! A space: a network namespace with one IPv4 and one IPv6 address, whose ports are all its own.
//!
//! - [`project`]: which space a directory belongs to;
//! - [`book`]: names and addresses that outlive the daemon;
//! - [`keeper`]: the process inside that holds a space open and makes sockets there;
//! - [`ids`]: its users and groups;
//! - [`network`]: the device, addresses and routes inside;
//! - [`enter`]: how a program gets in;
//! - [`standby`]: who lets its binds pass when daemon and keeper are gone.

pub(crate) mod book;
pub(crate) mod enter;
pub(crate) mod ids;
pub(crate) mod keeper;
pub(crate) mod network;
pub(crate) mod project;
pub(crate) mod standby;

pub(crate) use network::Device;
