//! A child that says anything to its parent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common_ipc::fuzzing::reports(data));
