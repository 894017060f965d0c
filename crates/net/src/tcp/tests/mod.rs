//! Whole connections against each other and against hand-made segments, with a virtual clock.

mod discards;
mod ecn;
mod losses;
mod pair;
mod peer;
mod rules;
mod states;
mod storm;
mod transfer;
