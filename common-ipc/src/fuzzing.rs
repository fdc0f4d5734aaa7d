//! What the fuzz targets run, each on bytes that anybody may have written. Only there for the fuzzer and for tests.

use crate::link::connection::fuzzing as connection;
use crate::process::fuzzing as process;

/// The data as an encoded value, then as chunks with any flags, which a connection reads.
pub fn frames(data: &[u8]) {
    connection::frames(data);
}

/// The data as writes to any words of a connection's memory, between calls of every kind.
pub fn words(data: &[u8]) {
    connection::words(data);
}

/// The data as a packet of which a fork server makes a child.
pub fn requests(data: &[u8]) {
    process::requests(data);
}

/// The data as packets of a child that its parent listens to.
pub fn reports(data: &[u8]) {
    process::reports(data);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Bytes of which some are as protocols have them.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>(), 1 => Just(0xff)], 0..700)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_of_anybody(data in bytes()) {
            super::frames(&data);
        }

        #[test]
        fn words_of_anybody(data in bytes()) {
            super::words(&data);
        }

        #[test]
        fn requests_of_anybody(data in bytes()) {
            super::requests(&data);
        }

        #[test]
        fn reports_of_anybody(data in bytes()) {
            super::reports(&data);
        }
    }
}
