//! Whatever a peer of a QEMU link writes, in whatever pieces: the link finds the frames that are in it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod play;

/// Streams with frames of all lengths, some too long, some absurd, cut off anywhere.
#[test]
fn frames_are_found_however_the_stream_is_cut() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % bound
    };
    let mut frames = 0;
    for _ in 0..200 {
        let mut octets = vec![next(256) as u8];
        for _ in 0..next(20) {
            let length = match next(12) {
                0 => 0,
                1 => 60_000 + next(20_000),
                2 if next(10) == 0 => 1 << (20 + next(12)),
                _ => next(2000),
            };
            octets.extend((length as u32).to_be_bytes());
            octets.extend(std::iter::repeat_n(length as u8, length.min(100_000)));
        }
        octets.truncate(octets.len() - next(octets.len().min(4)));
        frames += play::qemu::play(&octets);
    }
    assert!(frames > 500, "{frames}");
}
