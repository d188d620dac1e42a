//! What an app has committed to its outbox is in the queue, in the order of its keys; what it has rolled back never was there.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

mod forwarder {
    mod app;
    mod commands;
    mod crash;
    mod faults;
    mod order;
    mod outage;
    mod promises;
}
