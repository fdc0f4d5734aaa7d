//! A peer that writes to any word of the shared memory, between any two calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common_ipc::fuzzing::words(data));
