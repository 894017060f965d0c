//! The program `wharf`: every program gets its own ports.

mod space;

fn main() {}
