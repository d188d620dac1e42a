//! What becomes of each kind of item: the rows, and what is owed. How a request is split is the providers' crate.

use serde_json::{Value, json};
use tests::{Pipeline, a_reaction, a_status, a_text, text, whatsapp};

fn recorded(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/whatsapp");
    std::fs::read(format!("{path}/{name}.json")).unwrap()
}

async fn status(pipeline: &Pipeline, wamid: &str) -> Option<String> {
    pipeline.message(wamid).await.and_then(|message| message.status)
}

/// 62 (C6): the seed reads the first message of the first change of the first entry.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_with_two_entries_and_three_messages_gives_three() {
    let pipeline = Pipeline::new().await;

    let stamp = pipeline.receive(recorded("35_batch_two_changes_three_messages")).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM messages").await, 3);
    assert_eq!(pipeline.told_types().await, ["message_created"; 3]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((3, 3, 0, true)));
}

/// 63 (C6): the seed takes the statuses and loses the message.
#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_messages_in_one_value_are_both_applied() {
    let pipeline = Pipeline::new().await;

    pipeline.receive(recorded("36_messages_and_statuses_together")).await;

    let mut told = pipeline.told_types().await;
    told.sort();
    assert_eq!(told, ["message_created", "message_updated"]);
}

/// 40, 64: here one wamid is one message, and the cards are its attachments.
#[tokio::test(flavor = "multi_thread")]
async fn two_contact_cards_are_one_message_with_two_attachments_and_again_add_none() {
    let pipeline = Pipeline::new().await;

    pipeline.receive(recorded("11_contacts_two_cards")).await;
    pipeline.receive(recorded("11_contacts_two_cards")).await;

    let told = pipeline.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["message"]["attachments"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_kind_is_recorded_and_none_is_refused() {
    let pipeline = Pipeline::new().await;
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/whatsapp");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let names: Vec<_> = names.filter(|name| name != "MANIFEST" && !name.starts_with("39_")).collect();

    for name in &names {
        pipeline.receive(recorded(name)).await;
    }

    assert!(names.len() >= 20);
    assert_eq!(pipeline.quarantined().await, []);
    assert_eq!(pipeline.number("SELECT count(*) FROM receipts WHERE items = 0 OR ended_at IS NULL").await, 0);
}

/// 66: and no status is suppressed as a duplicate of another.
#[tokio::test(flavor = "multi_thread")]
async fn sent_delivered_and_read_in_any_order_end_as_read() {
    let orders = [["sent", "delivered", "read"], ["read", "delivered", "sent"], ["delivered", "read", "sent"]];
    let pipeline = Pipeline::new().await;

    for (n, order) in orders.iter().enumerate() {
        for word in order {
            pipeline.receive(a_status(&format!("wamid.{n}"), word)).await;
        }
    }

    for n in 0..orders.len() {
        assert_eq!(status(&pipeline, &format!("wamid.{n}")).await.as_deref(), Some("read"));
    }
    assert_eq!(pipeline.number("SELECT count(*) FROM events").await, 9);
}

/// 67: and says why it failed.
#[tokio::test(flavor = "multi_thread")]
async fn failed_stays_when_a_late_sent_comes() {
    let pipeline = Pipeline::new().await;

    pipeline.receive(a_status("wamid.1", "failed")).await;
    pipeline.receive(a_status("wamid.1", "sent")).await;

    assert_eq!(status(&pipeline, "wamid.1").await.as_deref(), Some("failed"));
    let told = pipeline.told().await;
    assert_eq!(told.len(), 1, "a status that moves nothing is recorded and owes nothing");
    assert_eq!(told[0]["data"]["message"]["errors"][0]["code"], json!(131026));
    assert_eq!(told[0]["data"]["changed"], json!({"status": {"from": null, "to": "failed"}}));
}

/// 68: it makes the row, and the message fills it.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_before_its_message_is_there_when_the_message_comes() {
    let pipeline = Pipeline::new().await;
    let echo = String::from_utf8(recorded("31_echo_text")).unwrap();
    let wamid = "wamid.HBgLCSx56PgOVZ5AS89mDEjzUitnq6n/FISw";
    pipeline.receive(a_status(wamid, "delivered")).await;

    pipeline.receive(echo).await;

    let message = pipeline.message(wamid).await.unwrap();
    assert_eq!((message.direction.as_str(), message.status.as_deref()), ("outgoing", Some("delivered")));
    assert_eq!(message.content.as_deref(), Some("Answered from the phone"));
    assert_eq!(pipeline.told_types().await, ["message_updated", "message_created"]);
    assert_eq!(pipeline.worker.counters().transactions_again.get(), 0, "what a business sends is looked for");
}

/// A number that joins tells its history, and with it what has come by then: under another key.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_there_is_looked_for_when_its_history_tells_it_once_more() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let thread = json!({"id": "15550101234", "messages": [text("wamid.1", "hello")]});

    let stamp = pipeline.receive(whatsapp(&[json!({"history": [{"threads": [thread]}]})])).await;

    assert_eq!(pipeline.receipt(&stamp).await, Some((2, 2, 0, true)), "the message, and the chunk");
    assert_eq!(pipeline.keys().await[..2], ["wamid.1", "history:wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM messages").await, 1);
    assert_eq!(pipeline.worker.counters().transactions_again.get(), 0);
}

/// 42: the seed ignores reactions; here one changes its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_changes_its_message_when_it_is_there() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;

    pipeline.receive(a_reaction("wamid.2", "wamid.1", "👍")).await;

    let told = pipeline.told().await;
    assert_eq!(told[1]["type"], "message_updated");
    assert_eq!(told[1]["data"]["message"]["reactions"][0]["emoji"], "👍");
    assert_eq!(told[1]["data"]["key"], "wamid.2");
    assert_eq!(pipeline.number("SELECT count(*) FROM messages").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_that_came_first_is_on_its_message_when_that_comes() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_reaction("wamid.2", "wamid.1", "👍")).await;

    pipeline.receive(a_text("wamid.1", "hello")).await;

    let told = pipeline.told().await;
    assert_eq!(told.len(), 1, "a reaction to nothing owes nothing");
    assert_eq!(told[0]["data"]["message"]["reactions"][0]["emoji"], "👍");
    assert_eq!(pipeline.number("SELECT count(*) FROM changes_awaiting").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_and_a_revoke_change_their_message_and_an_older_edit_comes_too_late() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "frist")).await;

    pipeline.receive(edit("wamid.3", "1771000030", "first")).await;
    pipeline.receive(edit("wamid.2", "1771000020", "fisrt")).await;
    pipeline.receive(revoke("wamid.4")).await;

    assert_eq!(pipeline.message("wamid.1").await.unwrap().content.as_deref(), Some("first"));
    let told = pipeline.told().await;
    assert_eq!(told.len(), 3, "created, edited, revoked; the older edit moves nothing");
    assert_eq!(told[2]["data"]["message"]["revoked"], true);
}

fn edit(wamid: &str, at: &str, body: &str) -> String {
    let new = json!({"type": "text", "text": {"body": body}});
    let edit = json!({"original_message_id": "wamid.1", "message": new});
    whatsapp(&[
        json!({"messages": [{"from": "15550101234", "id": wamid, "timestamp": at, "type": "edit", "edit": edit}]}),
    ])
}

fn revoke(wamid: &str) -> String {
    let revoke = json!({"original_message_id": "wamid.1"});
    let message =
        json!({"from": "15550101234", "id": wamid, "timestamp": "1771000050", "type": "revoke", "revoke": revoke});
    whatsapp(&[json!({"messages": [message]})])
}

/// 34: a sender without a phone number has a name that lasts all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_a_phone_number_is_told_by_the_business_scoped_id() {
    let pipeline = Pipeline::new().await;
    let message = json!({"from_user_id": "US.1349", "id": "wamid.1", "timestamp": "1771000000", "type": "text",
                         "text": {"body": "hello"}});
    let contact = json!({"profile": {"name": "Ines"}, "user_id": "US.1349"});

    pipeline.receive(whatsapp(&[json!({"contacts": [contact], "messages": [message]})])).await;

    let sender = pipeline.told().await[0]["data"]["message"]["sender"].clone();
    assert_eq!(sender, json!({"id": "US.1349", "phone": null, "name": "Ines"}));
}

/// "What it doesn't know is recorded as an event of its field's name with the raw item, never refused."
#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_tomorrow_is_recorded_and_told_by_its_name() {
    let pipeline = Pipeline::new().await;
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "880000000000007", "time": 1771000000,
        "changes": [{"field": "holograms", "value": {"shape": "cube"}}]}]});

    pipeline.receive(body.to_string()).await;
    pipeline.receive(body.to_string()).await;

    let told = pipeline.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["type"], "whatsapp.holograms");
    assert!(told[0]["data"]["raw"].to_string().contains("cube"));
    assert_eq!(told[0]["data"].get("message"), None::<&Value>);
}

/// 70 (C12), 49: whatever is wrong with an item stays with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_goes_to_quarantine_and_its_mates_go_on() {
    let pipeline = Pipeline::new().await;
    let nameless = json!({"from": "15550101234", "timestamp": "1771000000", "type": "text", "text": {"body": "?"}});
    let messages = json!([text("wamid.1", "one"), nameless, text("wamid.3", "three")]);

    let stamp = pipeline.receive(whatsapp(&[json!({"messages": messages})])).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.3"]);
    assert_eq!(pipeline.quarantined().await, [(1, "missing id".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((3, 2, 1, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_kept_whole() {
    let pipeline = Pipeline::new().await;

    let stamp = pipeline.receive("{\"entry\": [").await;

    assert_eq!(pipeline.quarantined().await, [(-1, "not JSON".to_owned())]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 0, 1, true)));
    let kept = pipeline.rows("SELECT body FROM quarantined_raw_events", &[]).await;
    assert_eq!(kept[0].get::<_, &[u8]>(0), b"{\"entry\": [");
}

/// Meta puts up to 1,000 updates in a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_in_one_request_are_a_thousand_messages() {
    let pipeline = Pipeline::new().await;
    let messages: Vec<_> = (0..1000).map(|n| text(&format!("wamid.{n}"), "hello")).collect();

    let stamp = pipeline.receive(whatsapp(&[json!({"messages": messages})])).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM events").await, 1000);
    assert_eq!(pipeline.number("SELECT max(sequence) FROM events").await, 1000);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1000, 1000, 0, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_and_half_a_surrogate_pair_are_data() {
    let pipeline = Pipeline::new().await;
    let body = a_text("wamid.1", "PLACE").replace("PLACE", "a\\u0000b\\ud83d");

    pipeline.receive(body).await;

    assert_eq!(pipeline.quarantined().await, []);
    let told = pipeline.rows("SELECT body FROM bodies", &[]).await;
    let told = String::from_utf8_lossy(told[0].get::<_, &[u8]>(0)).into_owned();
    assert!(told.contains(r"a\u0000b\ud83d"), "the raw item is told as it was sent");
}
