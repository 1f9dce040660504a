//! Gives the fuzzer's octets to the property of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorward_fuzz::head(bytes));
