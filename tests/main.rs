//! wharf as its users run it: the real binary, real programs inside, seen from outside.
//!
//! Each module is a feature, each scene a sentence about it, and each scene is played twice: as root and as an ordinary
//! user (only as that where the tests themselves run as one). Every world is its own: runtime, state and home directory,
//! port of the names; what talks to a network does so on a machine made for it ([`harness::machine`]). When a scene is
//! over, nothing may be left of it.
//!
//! A scene whose program is missing, or which the kernel forbids, is skipped aloud.

#![expect(clippy::unwrap_used, reason = "all of this is test code")]

mod harness;

mod background;
mod binding;
mod by_name;
mod capture;
mod ci;
mod command_line;
mod config;
mod confined;
mod conflicts;
mod devices;
mod dns;
mod doctor;
mod endurance;
mod events;
mod free;
mod from_host;
mod https;
mod interrupted;
mod isolation;
mod joining;
mod killed;
mod listing;
mod mcp;
mod naming_ports;
mod outward;
mod own_ports;
mod passing_through;
mod publishing;
mod reaching;
mod signals;
mod spaces;
mod status;
mod stopping;
mod stopping_ports;
mod terminal;
mod unit;
mod waiting;
mod watching;
mod web;
mod why;
