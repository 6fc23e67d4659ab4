//! `cargo +nightly fuzz run decoders`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highwater_connectors::evm::decode::testing::decoders(data));
