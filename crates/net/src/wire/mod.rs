//! Wire formats: bytes to values and back. Nothing here knows a connection, a host or a clock.

pub mod tcp;
