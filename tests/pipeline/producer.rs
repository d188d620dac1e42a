//! Promise 2, first half: what the producer has answered with 200 is in Redis, and what it cannot keep it refuses.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

mod producer {
    mod answers;
    mod certificates;
    mod clients;
    mod described;
    mod door;
    mod examples;
    mod headers;
    mod http;
    mod keys;
    mod library;
    mod limits;
    mod long_answers;
    mod outage;
    mod paypal;
    mod raw_events;
    mod reading;
    mod server;
    mod signature;
    mod snapshot;
}
