//! Jobs as the queue keeps them, and secrets as Postgres keeps them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    vocabulary::properties::job(bytes);
    vocabulary::properties::sealed(bytes);
});
