//! Lanes: what an endpoint that asked for order is owed, one after the other; and what a gate keeps off the desk.

use serde_json::json;
use tests::{Pipeline, a_status, text, whatsapp};

/// Who wrote each message: `sender` writes `wamid`.
fn said(sender: &str, wamid: &str) -> String {
    let mut message = text(wamid, "hello");
    message["from"] = json!(sender);
    whatsapp(&[json!({"messages": [message]})])
}

/// Lane, whether it is due, in the order of their numbers.
async fn lanes(pipeline: &Pipeline) -> Vec<(Option<String>, bool)> {
    let query = "SELECT lane, due_at IS NOT NULL FROM due JOIN events e ON e.id = event_id ORDER BY e.sequence";
    pipeline.rows(query, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn lane(name: &str, is_due: bool) -> (Option<String>, bool) {
    (Some(name.to_owned()), is_due)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_sender_wrote_waits_for_what_he_wrote_before_and_for_nobody_else() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET ordered_by = 'sender'").await;

    pipeline.receive(said("4911", "wamid.1")).await;
    pipeline.receive(said("4922", "wamid.2")).await;
    pipeline.receive(said("4911", "wamid.3")).await;

    let expected = [lane("wa 4911", true), lane("wa 4922", true), lane("wa 4911", false)];
    assert_eq!(lanes(&pipeline).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_items_in_one_transaction_only_the_first_of_a_lane_is_due() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET ordered_by = 'source'").await;

    let messages = [text("wamid.1", "a"), text("wamid.2", "b"), text("wamid.3", "c")];
    pipeline.receive(whatsapp(&[json!({"messages": messages})])).await;

    assert_eq!(lanes(&pipeline).await, [lane("wa", true), lane("wa", false), lane("wa", false)]);
}

/// A status names no sender; what it is about does, once it is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_sender_shares_the_lane_of_its_source() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET ordered_by = 'sender'").await;

    pipeline.receive(a_status("wamid.out", "delivered")).await;

    assert_eq!(lanes(&pipeline).await, [lane("wa", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_asked_for_no_order_has_no_lanes() {
    let pipeline = Pipeline::new().await;

    pipeline.receive(said("4911", "wamid.1")).await;
    pipeline.receive(said("4911", "wamid.2")).await;

    assert_eq!(lanes(&pipeline).await, [(None, true), (None, true)]);
}

/// A sender's name stands in an index, and an index holds no six kilobytes: what asks for order must cost nobody an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_with_an_endless_name_has_a_lane_all_the_same() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET ordered_by = 'sender'").await;
    let endless: String = (1..800_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();

    pipeline.receive(said(&endless, "wamid.1")).await;

    assert_eq!(pipeline.quarantined().await, []);
    let lanes = pipeline.rows("SELECT lane FROM due", &[]).await;
    let [lane] = &lanes[..] else { panic!("{} are due", lanes.len()) };
    assert!(lane.get::<_, &str>(0).starts_with("wa sha256:"));
}
