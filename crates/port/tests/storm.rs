//! Arbitrary calls in arbitrary order: the fuzzer's sequences (`fuzz/`), as many as a test has time for.

mod calls;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sequence_of_calls_breaks_the_table(octets in prop::collection::vec(any::<u8>(), 0..6000)) {
        calls::play(&octets);
    }
}
