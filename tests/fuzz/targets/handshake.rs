//! Queries of a URL.

#![no_main]

libfuzzer_sys::fuzz_target!(|query: &[u8]| {
    let query: Vec<_> = url::form_urlencoded::parse(query).into_owned().collect();
    providers::properties::handshake(&query);
});
