//! Tries the name front and the name service by hand.
mod name;
fn main() {}
