//! `cargo +nightly fuzz run json_ingest`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_fuzz::json_ingest(data));
