//! A space.
#[allow(dead_code)]
pub(crate) mod network;
