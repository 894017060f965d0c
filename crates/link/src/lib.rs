//! Frames in, frames out: TAP, packet socket, memory and recorded links.
