//! URLs that a tenant types in.

#![no_main]

libfuzzer_sys::fuzz_target!(|url: &str| {
    dispatcher::properties::guard(url);
});
