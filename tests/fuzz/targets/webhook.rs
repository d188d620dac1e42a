//! Deliveries as a customer gets them: id, timestamp and signatures, one a line, then the body.

#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| {
    dispatcher::properties::webhook(request);
});
