//! What a fork server reads from its socket, as nobody sends it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common_ipc::fuzzing::requests(data));
