//! Whole connections against each other and against hand-made segments, with a virtual clock.

mod pair;
mod transfer;
