//! What one message does to another.

use vocabulary::{Change, Reaction};

use super::*;
use crate::reason;

fn change(event: &Event) -> (&str, &Change) {
    match &event.effect {
        Effect::Change { target, change } => (target, change),
        other => panic!("no change: {other:?}"),
    }
}

/// D.42 differs: the seed ignores reactions.
#[test]
fn a_reaction_changes_the_message_that_it_is_about_under_its_own_key() {
    let event = event(fixture("13_reaction"));

    assert_eq!((event.key.as_str(), event.kind.as_str()), ("wamid.HBgLURY5pKmiPM64PhrLCqtYJg5vUTYFEZcA", "reaction"));
    let reaction = Reaction { from: Some("15550101234".into()), emoji: Some("👍".into()) };
    assert_eq!(change(&event), ("wamid.HBgLrSGcNUwZCDWVib68fCnJKGNvbXRe3dsx", &Change::Reaction(reaction)));
}

#[test]
fn a_reaction_without_an_emoji_takes_the_earlier_one_back() {
    for own in [json!({"message_id": "wamid.0"}), json!({"message_id": "wamid.0", "emoji": ""})] {
        let event = event(received(&message("reaction", own)));
        assert!(matches!(change(&event), ("wamid.0", Change::Reaction(Reaction { emoji: None, .. }))));
    }
}

#[test]
fn an_edit_carries_the_new_content_in_the_form_of_a_message() {
    let own =
        json!({"original_message_id": "wamid.0", "message": {"type": "image", "image": {"id": "7", "caption": "new"}}});

    let event = event(received(&message("edit", own)));

    let (target, Change::Edit { content, attachments }) = change(&event) else { panic!() };
    assert_eq!((target, content.as_deref()), ("wamid.0", Some("new")));
    assert_eq!((attachments[0].kind.as_str(), attachments[0].id.as_deref()), ("image", Some("7")));
}

#[test]
fn a_revoke_takes_the_message_back() {
    let event = event(received(&message("revoke", json!({"original_message_id": "wamid.0"}))));

    assert_eq!(change(&event), ("wamid.0", &Change::Revoke));
}

#[test]
fn the_business_may_edit_revoke_and_react_too() {
    let kinds = [
        ("edit", json!({"original_message_id": "wamid.0", "message": {"type": "text", "text": {"body": "new"}}})),
        ("revoke", json!({"original_message_id": "wamid.0"})),
        ("reaction", json!({"message_id": "wamid.0", "emoji": "🎉"})),
    ];

    for (kind, own) in kinds {
        let event = event(request("smb_message_echoes", &value("message_echoes", json!([message(kind, own)]))));
        assert_eq!((event.key.as_str(), change(&event).0), ("echo:wamid.1", "wamid.0"));
    }
}

#[test]
fn what_does_not_say_which_message_it_is_about_is_rejected() {
    let edit = json!({"message": {"type": "text", "text": {"body": "new"}}});
    for (kind, own) in [("reaction", json!({"emoji": "👍"})), ("revoke", json!({})), ("edit", edit)] {
        assert_eq!(rejection(received(&message(kind, own))).reason, reason::MISSING_ID, "{kind}");
    }
    let unusable = message("revoke", json!({"original_message_id": "a\0b"}));
    assert_eq!(rejection(received(&unusable)).reason, reason::UNUSABLE_ID);
}

#[test]
fn an_edit_to_nothing_that_we_can_read_is_rejected_rather_than_wiping_the_message() {
    for message in [json!(null), json!("text"), json!({"text": {"body": "typeless"}})] {
        let own = json!({"original_message_id": "wamid.0", "message": message});
        assert_eq!(rejection(received(&super::message("edit", own))).reason, reason::WRONG_TYPE);
    }
}

#[test]
fn an_edit_that_leaves_neither_text_nor_attachment_is_rejected_rather_than_wiping_the_message() {
    let edits = [
        message("hologram", json!({"beam": [1, 2]})),
        message("interactive", json!({"type": "call_permission_reply", "call_permission_reply": {}})),
        message("button", json!({"payload": "YES"})),
        message("text", json!({"body": ""})),
        message("contacts", json!([])),
        json!({"type": "text"}),
        json!({"type": "image"}),
    ];

    for edited in edits {
        let own = json!({"original_message_id": "wamid.0", "message": edited});
        assert_eq!(rejection(received(&message("edit", own))).reason, reason::WRONG_TYPE, "{edited}");
    }
}

#[test]
fn an_edit_may_take_the_caption_of_a_file_away() {
    let own = json!({"original_message_id": "wamid.0", "message": {"type": "image", "image": {"id": "7"}}});

    let event = event(received(&message("edit", own)));

    let (_, Change::Edit { content, attachments }) = change(&event) else { panic!() };
    assert_eq!((content, attachments.len()), (&None, 1));
}
