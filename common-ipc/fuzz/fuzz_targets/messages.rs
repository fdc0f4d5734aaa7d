//! Messages with named parameters, as no honest sender writes them, and their parameters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| valkka_multiprocess::fuzzing::messages(data));
