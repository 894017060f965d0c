//! The program `wharf`: every program gets its own ports.

fn main() {}
