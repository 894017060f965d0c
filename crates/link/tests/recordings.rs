//! Whatever a recording contains: what can be read of it is read, and the rest is an error.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod play;

/// Files of pcapng blocks, and of pcap's packets, damaged here and there.
#[test]
fn damaged_recordings_are_read_as_far_as_they_go() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % bound
    };
    let mut packets = 0;
    for _ in 0..2000 {
        let newer = next(2) == 0;
        let mut octets = vec![if newer { 3 } else { 1 }];
        for _ in 0..next(12) {
            let length = next(50) * 4;
            let word = |value: usize| (value as u32).to_le_bytes();
            let frame = vec![length as u8; length];
            if newer {
                let total = word(32 + length);
                let head = [
                    word(6),
                    total,
                    word(0),
                    word(7),
                    word(9),
                    word(length),
                    word(length),
                ];
                octets.extend(head.concat());
                octets.extend(frame);
                octets.extend(total);
            } else {
                octets.extend([word(7), word(9), word(length), word(length)].concat());
                octets.extend(frame);
            }
        }
        if next(3) == 0 {
            let at = next(octets.len());
            octets[at] = next(256) as u8;
        }
        packets += play::pcap::play(&octets);
    }
    assert!(packets > 5000, "{packets}");
}
