//! Binding through the table: bind(2) and listen(2) of the programs in spaces, performed by the daemon.
//!
//! Theory of operation. A program that `wharf run` starts carries a filter ([`filter`]) that sends these two calls, and
//! no other, to whoever holds its *listener*: a descriptor at which one notification after the other is received and
//! answered ([`notify`]; `seccomp_unotify(2)`). That is a thread of the daemon ([`clerk`]), one for each run, that does nothing else.
//! It takes a duplicate of the program's socket ([`target`]), performs the call on that, notes the outcome in the
//! record of the space ([`record`]), and answers what the kernel said. What the program passed by reference is read once, so
//! that no other thread of it can change what is bound after it was looked at.
//!
//! What is none of wharf's business (Unix sockets, raw ones, those of another network namespace) the kernel is told to go
//! on with, and so is everything about which the daemon can't be sure: a bad pointer gives the error that it always gave.
//!
//! Whoever holds a listener and does not answer stops the programs at their next bind; when nobody holds it, each bind
//! fails. So every listener has a second holder, the space's keeper, which lets everything pass as long as no daemon
//! lives ([`standin`]), and a third for when both are gone: the run, or what it leaves behind ([`crate::space::standby`]).
//! The notification that a clerk has in hand lies in memory that all of them see
//! ([`hand`]): the kernel writes it there itself, so that there is no moment at which it could be lost.
//!
//! To have read: `seccomp_unotify(2)`, `seccomp(2)`, `pidfd_getfd(2)`.

mod act;
mod call;
pub(crate) mod caller;
pub(crate) mod clerk;
pub(crate) mod filter;
pub(crate) mod hand;
pub(crate) mod notify;
pub(crate) mod policy;
pub(crate) mod record;
mod socket;
pub(crate) mod standin;
mod sys;
mod target;

pub(crate) use sys::{install, netns_cookie};
