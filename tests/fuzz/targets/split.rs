//! Bodies that are correctly signed, and anything else.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    providers::properties::split(body.to_vec());
});
