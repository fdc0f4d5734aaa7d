//! Chunks, frames and encoded values that no honest sender sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common_ipc::fuzzing::frames(data));
