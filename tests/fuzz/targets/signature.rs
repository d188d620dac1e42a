//! Signature headers, one a line, then an empty line and the body. `%` stands for the right digits, `^` for them in
//! capitals.

#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| {
    let end_of_head = request.windows(2).position(|pair| pair == b"\n\n");
    let (headers, body) = request.split_at(end_of_head.unwrap_or(request.len()));
    providers::properties::signature(headers, body.get(2..).unwrap_or_default());
});
