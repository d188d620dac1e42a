//! What somebody says in a few words is refused where it is typed, if it is more than a line, and nothing is done then.

use tests::Pipeline;

use super::CommandLine;

/// Every command that keeps what somebody says, up to where he says it.
const SAYS: [&str; 7] = [
    "endpoint disable bot --reason",
    "audit accept --reason",
    "quarantine discard --all --reason",
    "deliveries abandon --endpoint bot --reason",
    "deliveries retry --endpoint bot --reason",
    "account add --id new --name",
    "source add --provider whatsapp --account acme --id new --app-secret s --verify-token t --name",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_terminal_would_obey_or_postgres_cannot_keep_is_refused_by_every_command_that_keeps_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);

    for (says, text) in
        SAYS.iter().flat_map(|says| ["two\nlines", "\u{1b}[2J", "nul\0", "a\ttab"].map(|text| (says, text)))
    {
        let failure = latchhook.fails(&format!("{says} '{text}'")).await;
        assert!(failure.contains("write one line, without tabs and other control characters"), "{says}: {failure}");
        assert!(!failure.contains(char::is_control), "{says}: {failure:?}");
    }

    let changed = "SELECT (SELECT count(*) FROM audit_log) + (SELECT count(*) FROM accounts WHERE id = 'new') \
                   + (SELECT count(*) FROM sources WHERE id = 'new') + (SELECT count(*) FROM endpoints WHERE NOT enabled)";
    assert_eq!(pipeline.number(changed).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_or_longer_than_a_sentence_is_refused_by_every_command_that_keeps_it() {
    let nothing = CommandLine { settings: Vec::new() };
    let long = "x".repeat(501);

    for says in SAYS {
        let failure = nothing.fails(&format!("{says} '{long}'")).await;
        assert!(failure.contains("write at most 500 bytes, not 501"), "{says}: {failure}");
        let failure = nothing.fails(&format!("{says} ' '")).await;
        assert!(failure.contains("is empty: "), "{says}: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_is_named_as_it_is_shown_however_much_stands_behind_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let shown = format!("{} (its last lease ended unrecorded: its customer may have it)", "x".repeat(500));

    let ended = latchhook.json(&format!("deliveries retry --endpoint bot --reason '{shown}'")).await;

    assert_eq!((&ended["state"], &ended["wanted"]), (&"done".into(), &0.into()));
}
