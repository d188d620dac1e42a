//! What becomes of each type of message.

use vocabulary::{Attachment, Direction, Sender};

use super::*;

fn attachment(kind: &str) -> Attachment {
    Attachment { kind: kind.into(), ..Attachment::default() }
}

#[test]
fn a_text_is_a_message_with_its_sender_its_time_and_its_own_bytes() {
    let body = fixture("01_text");
    let event = event(body);
    let message = new_message(&event);

    assert_eq!(event.key.as_str(), "wamid.HBgLmC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0a");
    assert_eq!((event.kind.as_str(), event.quiet), ("text", false));
    assert_eq!(event.occurred_at, DateTime::from_timestamp(1_771_000_000, 0));
    assert_eq!((message.external_id.as_str(), message.direction), (event.key.as_str(), Direction::Incoming));
    assert_eq!(message.content.as_deref(), Some("Hello, is the blue one in stock?"));
    let (id, phone, name) = (Some("15550101234".into()), Some("15550101234".into()), Some("Ines Okafor".into()));
    assert_eq!(message.sender, Some(Sender { id, phone, name }));
    assert!(message.attachments.is_empty() && message.details.is_none());
    let raw: Value = serde_json::from_slice(&event.raw).unwrap();
    assert_eq!(raw["id"], event.key.as_str());
    assert!(body.as_ptr_range().contains(&event.raw.as_ptr()), "a slice of the body, not a copy");
}

/// D.45 differs: what a message answers is kept whether or not we know it.
#[test]
fn what_a_message_answers_is_kept_verbatim() {
    let event = event(fixture("02_text_reply_with_context"));

    let context = new_message(&event).context.as_ref().unwrap();
    assert_eq!(context["id"], "wamid.HBgLrSGcNUwZCDWVib68fCnJKGNvbXRe3dsx");
    assert_eq!(context["from"], "15550100042");
}

/// D.37
#[test]
fn an_image_is_its_caption_and_one_attachment_that_nobody_downloads() {
    let event = event(fixture("04_image_caption"));
    let message = new_message(&event);

    assert_eq!(message.content.as_deref(), Some("Box arrived damaged"));
    let expected = Attachment {
        id: Some("700000000000101".into()),
        mime_type: Some("image/jpeg".into()),
        sha256: Some("Jm7c1o2mWw0kq6b2wYQ9g0m2s1n0m9o1b8q2c3d4e5f=".into()),
        ..attachment("image")
    };
    assert_eq!(message.attachments, [expected]);
}

#[test]
fn a_voice_note_says_that_it_is_one() {
    let event = event(fixture("05_audio_voice"));
    let message = new_message(&event);

    assert_eq!(message.content, None);
    assert_eq!(
        (message.attachments[0].kind.as_str(), &message.attachments[0].data),
        ("audio", &Some(json!({"voice": true})))
    );
}

#[test]
fn a_document_keeps_the_name_that_it_was_sent_under() {
    let event = event(fixture("07_document_accented_filename"));

    let filename = new_message(&event).attachments[0].filename.as_deref();
    assert_eq!(filename, Some("Présentation nº 3 – devis.pdf"));
}

#[test]
fn videos_and_stickers_are_attachments_of_their_kind_with_url_and_flags() {
    let own = json!({"id": "7", "mime_type": "m", "url": "https://lookaside.example/7", "animated": true});

    for kind in ["video", "sticker"] {
        let event = event(received(&message(kind, own.clone())));
        let expected = Attachment {
            id: Some("7".into()),
            mime_type: Some("m".into()),
            url: Some("https://lookaside.example/7".into()),
            data: Some(json!({"animated": true})),
            ..attachment(kind)
        };
        assert_eq!(new_message(&event).attachments, [expected]);
    }
}

/// D.39
#[test]
fn a_location_is_an_attachment_with_all_that_was_said_of_the_place() {
    let event = event(fixture("09_location"));
    let message = new_message(&event);

    assert_eq!(message.content, None);
    let data = message.attachments[0].data.as_ref().unwrap();
    assert_eq!(message.attachments[0].kind, "location");
    assert_eq!((&data["latitude"], &data["longitude"]), (&json!(-23.55052), &json!(-46.633308)));
    assert_eq!((&data["name"], &data["url"]), (&json!("Praca Central"), &json!("https://maps.example/p/42")));
    assert_eq!(data["address"], "Rua das Flores, 10, Sao Paulo");
}

/// D.40 and D.64 differ: the seed makes a message of each card, all under one id.
#[test]
fn two_contact_cards_are_one_message_because_one_wamid_is_one_message() {
    let event = event(fixture("11_contacts_two_cards"));
    let message = new_message(&event);

    assert_eq!(message.content, None);
    assert!(message.attachments.iter().all(|card| card.kind == "contact"));
    let names = message.attachments.iter().map(|card| card.data.as_ref().unwrap()["name"]["formatted_name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["Depot North", "Rui Santos"]);
    assert_eq!(message.attachments[1].data.as_ref().unwrap()["phones"][0]["wa_id"], "15550107002");
}

/// D.35, but the payload is kept.
#[test]
fn a_button_is_its_text_and_keeps_its_payload() {
    let event = event(fixture("15_button_template_reply"));
    let message = new_message(&event);

    assert_eq!(message.content.as_deref(), Some("Confirm"));
    assert_eq!(message.details.as_ref().unwrap()["button"]["payload"], "CONFIRM-991");
}

/// D.36, but the id is kept.
#[test]
fn a_reply_button_is_its_title_and_keeps_its_id() {
    let event = event(fixture("16_interactive_button_reply"));
    let message = new_message(&event);

    assert_eq!((event.kind.as_str(), message.content.as_deref()), ("interactive", Some("Morning")));
    assert_eq!(message.details.as_ref().unwrap()["interactive"]["button_reply"]["id"], "slot_am");
}

/// D.36, but id and description are kept.
#[test]
fn a_list_reply_is_its_title_and_keeps_its_id_and_description() {
    let own = json!({"type": "list_reply", "list_reply": {"id": "l1", "title": "Large", "description": "fits all"}});
    let event = event(received(&message("interactive", own.clone())));
    let message = new_message(&event);

    assert_eq!(message.content.as_deref(), Some("Large"));
    assert_eq!(message.details, Some(json!({"interactive": own})));
}

/// D.47
#[test]
fn a_flow_reply_is_its_body_and_keeps_its_answers_as_json_or_as_the_text_that_they_are() {
    let flow = event(fixture("18_interactive_nfm_reply_flow"));
    let message = new_message(&flow);
    assert_eq!(message.content.as_deref(), Some("Sent"));
    let reply = &message.details.as_ref().unwrap()["interactive"]["nfm_reply"];
    assert_eq!((&reply["name"], &reply["response_json"]["rating"]), (&json!("flow"), &json!("4")));

    let deep = "[".repeat(500) + &"]".repeat(500);
    for answers in
        [json!("{not json"), json!(""), json!(deep), json!("[1e999]"), json!(null), json!({"already": "parsed"})]
    {
        let own = json!({"type": "nfm_reply", "nfm_reply": {"body": "Sent", "name": "flow", "response_json": answers}});
        let event = event(received(&super::message("interactive", own)));
        let details = new_message(&event).details.clone().unwrap();
        assert_eq!(details["interactive"]["nfm_reply"]["response_json"], answers);
    }
    let half = json!({"type": "nfm_reply", "nfm_reply": {"response_json": r#"{"wish":"\ud83d"}"#}});
    let details = new_message(&event(received(&super::message("interactive", half)))).details.clone().unwrap();
    assert_eq!(details["interactive"]["nfm_reply"]["response_json"], json!({"wish": "\u{fffd}"}));
    let without = json!({"type": "nfm_reply", "nfm_reply": {"body": "Sent"}});
    assert_eq!(new_message(&event(received(&super::message("interactive", without)))).content.as_deref(), Some("Sent"));
}

#[test]
fn an_interactive_reply_of_a_new_kind_is_a_message_with_its_object() {
    let own = json!({"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}});
    let event = event(received(&message("interactive", own.clone())));

    assert_eq!(new_message(&event).content, None);
    assert_eq!(new_message(&event).details, Some(json!({"interactive": own})));
}

/// D.46
#[test]
fn the_advertisement_that_a_message_came_from_is_kept_unchanged() {
    let event = event(fixture("19_text_with_referral_ctwa"));
    let message = new_message(&event);

    let raw: Value = serde_json::from_slice(&event.raw).unwrap();
    assert_eq!(message.referral.as_ref(), Some(&raw["referral"]));
    assert_eq!(message.referral.as_ref().unwrap()["ctwa_clid"], "Afc0FixtureClickId");
}

/// D.44, without a text that nobody wrote.
#[test]
fn an_unsupported_message_is_a_message_with_its_errors() {
    let event = event(fixture("21_unsupported_131051"));
    let message = new_message(&event);

    assert_eq!((event.kind.as_str(), message.content.as_deref()), ("unsupported", None));
    assert_eq!(message.errors.as_ref().unwrap()[0]["code"], 131_051);
    assert_eq!(message.details, Some(json!({"unsupported": {"type": "poll_creation"}})));
}

/// D.41 differs: the seed drops such a message; here nothing is lost.
#[test]
fn a_message_with_errors_is_still_a_message() {
    let message = with(message("text", json!({"body": "hi"})), "errors", json!([{"code": 131_000}]));

    let event = event(received(&message));

    assert_eq!(new_message(&event).content.as_deref(), Some("hi"));
    assert_eq!(new_message(&event).errors, Some(json!([{"code": 131_000}])));
}

/// D.43 differs: the seed ignores both.
#[test]
fn request_welcome_and_ephemeral_are_messages_without_content() {
    for kind in ["request_welcome", "ephemeral"] {
        let event = event(received(&json!({"from": "1", "id": "wamid.1", "timestamp": "1771000000", "type": kind})));
        assert_eq!((event.kind.as_str(), new_message(&event).content.as_deref()), (kind, None));
    }
}

/// D.70
#[test]
fn a_type_that_nobody_knows_yet_is_a_message_without_content() {
    let bare = event(fixture("42_unknown_type_without_body"));
    assert_eq!((bare.kind.as_str(), &new_message(&bare).content), ("hologram", &None));

    let with_object = event(received(&message("hologram", json!({"beam": [1, 2]}))));
    assert_eq!(new_message(&with_object).details, Some(json!({"hologram": {"beam": [1, 2]}})));
}

#[test]
fn a_message_whose_type_is_missing_or_empty_is_of_unknown_type() {
    let typeless = json!({"from": "1", "id": "wamid.1", "timestamp": "1771000000"});

    for message in [with(typeless.clone(), "type", json!("")), typeless] {
        let event = event(received(&message));
        assert_eq!((event.kind.as_str(), event.key.as_str()), ("unknown", "wamid.1"));
    }
}

#[test]
fn a_type_is_cut_where_no_word_is_that_long_and_holds_no_nul() {
    let event = event(received(&with(message("text", json!({})), "type", json!(format!("a\0{}", "é".repeat(500))))));

    assert_eq!(event.kind.chars().count(), 128);
    assert!(event.kind.starts_with("a\u{fffd}é"));
}

#[test]
fn an_order_is_its_text_and_an_attachment_with_all_of_it() {
    let own = json!({"catalog_id": "9", "text": "asap", "product_items": [{"product_retailer_id": "k", "quantity": 2, "item_price": 9.5, "currency": "EUR"}]});

    let event = event(received(&message("order", own.clone())));

    let expected = Attachment { data: Some(own), ..attachment("order") };
    assert_eq!(
        (new_message(&event).content.as_deref(), &new_message(&event).attachments[..]),
        (Some("asap"), &[expected][..])
    );
}

#[test]
fn a_message_to_a_group_says_to_which() {
    let event = event(received(&with(message("text", json!({"body": "all"})), "group_id", json!("g-1"))));

    assert_eq!(new_message(&event).details, Some(json!({"group_id": "g-1"})));
}

/// D.34
#[test]
fn a_sender_who_hides_the_phone_number_is_known_by_the_user_id() {
    let contacts =
        json!([{"profile": {"name": "Bo"}, "user_id": "US.2"}, {"profile": {"name": "Ada"}, "user_id": "US.1"}]);
    let message =
        json!({"from_user_id": "US.1", "id": "wamid.1", "timestamp": "1", "type": "text", "text": {"body": "hi"}});
    let value = with(value("messages", json!([message])), "contacts", contacts);

    let event = event(request("messages", &value));

    let expected = Sender { id: Some("US.1".into()), phone: None, name: Some("Ada".into()) };
    assert_eq!(new_message(&event).sender, Some(expected));
}

#[test]
fn a_sender_with_both_is_known_by_the_user_id_and_named_by_either() {
    let message = with(message("text", json!({"body": "hi"})), "from_user_id", json!("US.9"));

    let sender = new_message(&event(received(&message))).sender.clone().unwrap();

    assert_eq!((sender.id.as_deref(), sender.phone.as_deref()), (Some("US.9"), Some("15550101234")));
    assert_eq!(sender.name.as_deref(), Some("Ines Okafor"));
}

#[test]
fn nobody_is_given_the_name_of_another_of_several_people() {
    let contacts = json!([{"profile": {"name": "Bo"}, "wa_id": "1"}, {"profile": {"name": "Ada"}, "wa_id": "2"}]);
    let value = with(value("messages", json!([message("text", json!({"body": "hi"}))])), "contacts", contacts);

    assert_eq!(new_message(&event(request("messages", &value))).sender.as_ref().unwrap().name, None);
}

/// The names that the senders of these messages get from these contacts.
fn names(contacts: Value, senders: &[Value]) -> Vec<Option<String>> {
    let said_by = |(n, sender): (usize, &Value)| {
        let mut message = json!({"id": format!("wamid.{n}"), "type": "text", "text": {"body": "hi"}});
        message.as_object_mut().unwrap().extend(sender.as_object().unwrap().clone());
        message
    };
    let messages: Vec<_> = senders.iter().enumerate().map(said_by).collect();
    let events = events(request("messages", &with(value("messages", json!(messages)), "contacts", contacts)));
    events.iter().map(|event| new_message(event).sender.as_ref().and_then(|sender| sender.name.clone())).collect()
}

fn anna(wa_id: &str) -> Value {
    json!([{"profile": {"name": "Anna"}, "wa_id": wa_id}])
}

#[test]
fn of_two_authors_only_the_one_that_the_lone_contact_is_about_has_its_name() {
    let senders = [json!({"from": "4911"}), json!({"from": "4922"})];
    assert_eq!(names(anna("4911"), &senders), [Some("Anna".into()), None]);

    let in_two_forms = [json!({"from": "5511987654321"}), json!({"from": "551187654321"})];
    assert_eq!(names(anna("551187654321"), &in_two_forms), [None, Some("Anna".into())]);

    let without_ids = json!([{"profile": {"name": "Anna"}}]);
    assert_eq!(names(without_ids, &senders), [None, None]);
}

#[test]
fn a_lone_contact_with_the_id_of_somebody_else_names_nobody() {
    assert_eq!(names(anna("4911"), &[json!({"from": "4933"})]), [None]);
    assert_eq!(names(anna("491511234567"), &[json!({"from": "491517654321"})]), [None]);

    let under_both = json!([{"profile": {"name": "Anna"}, "wa_id": "551187654321", "user_id": "BR.1"}]);
    let other_user = json!({"from": "5511987654321", "from_user_id": "BR.2"});
    assert_eq!(names(under_both, &[other_user]), [None], "a user id has one form");
}

#[test]
fn the_lone_contact_of_a_lone_author_is_the_sender_even_under_another_form_of_the_number() {
    let forms =
        [("551187654321", "5511987654321"), ("541123456789", "5491123456789"), ("525512345678", "5215512345678")];

    for (one, other) in forms {
        for (wa_id, from) in [(one, other), (other, one)] {
            let twice = [json!({"from": from}), json!({"from": from})];
            assert_eq!(names(anna(wa_id), &twice), [Some("Anna".into()), Some("Anna".into())], "{from}");
        }
    }
}

#[test]
fn the_lone_contact_of_a_lone_author_is_the_sender_where_their_ids_cannot_be_compared() {
    let by_user_id = json!([{"profile": {"name": "Anna"}, "user_id": "DE.1"}]);
    assert_eq!(names(by_user_id, &[json!({"from": "4911"})]), [Some("Anna".into())]);
    assert_eq!(names(anna("4911"), &[json!({"from_user_id": "DE.1"})]), [Some("Anna".into())]);
}

#[test]
fn who_wrote_a_message_that_does_not_say_so_is_never_guessed() {
    assert_eq!(names(anna("4911"), &[json!({})]), [None]);

    let beside_a_nameless_one = [json!({"from_user_id": "DE.1"}), json!({})];
    assert_eq!(names(anna("4911"), &beside_a_nameless_one), [None, None]);
}

#[test]
fn what_only_describes_a_message_may_be_odd() {
    let mut odd = message("text", json!({"body": "hi"}));
    odd["from"] = json!(15_550_101_234_i64);
    odd["timestamp"] = json!({"when": "now"});
    odd["context"] = json!("odd");
    let value = with(value("messages", json!([odd])), "contacts", json!({"profile": 1}));

    let event = event(request("messages", &value));

    assert_eq!(event.occurred_at, None);
    assert_eq!(new_message(&event).sender.as_ref().unwrap().phone.as_deref(), Some("15550101234"));
    assert_eq!(new_message(&event).context, Some(json!("odd")));
}

/// D.48
#[test]
fn an_echo_is_an_outgoing_message_without_a_sender_under_a_key_of_its_own() {
    let event = event(fixture("31_echo_text"));
    let message = new_message(&event);

    assert_eq!(event.key.as_str(), "echo:wamid.HBgLCSx56PgOVZ5AS89mDEjzUitnq6n/FISw");
    assert_eq!(message.external_id, "wamid.HBgLCSx56PgOVZ5AS89mDEjzUitnq6n/FISw");
    assert_eq!((message.direction, &message.sender), (Direction::Outgoing, &None));
    assert_eq!(message.content.as_deref(), Some("Answered from the phone"));
    assert_eq!(message.details, Some(json!({"to": "15550101234"})));
}

/// D.62
#[test]
fn a_request_with_two_entries_and_three_messages_is_three_messages_in_their_order() {
    let events = events(fixture("35_batch_two_changes_three_messages"));

    let said: Vec<_> = events.iter().map(|event| new_message(event).content.as_deref().unwrap()).collect();
    assert_eq!(said, ["one", "two", "three, other sender"]);
    assert_eq!(new_message(&events[2]).sender.as_ref().unwrap().name.as_deref(), Some("Bo Lind"));
}

/// D.63
#[test]
fn a_value_with_messages_and_statuses_gives_both() {
    let events = events(fixture("36_messages_and_statuses_together"));

    assert_eq!(events.len(), 2);
    assert_eq!(new_message(&events[0]).content.as_deref(), Some("mixed"));
    assert!(matches!(&events[1].effect, Effect::Status(status) if status.target.starts_with("wamid.HBgLrSGc")));
}

#[test]
fn nul_and_half_a_character_are_data() {
    let body = received(&message("text", json!({"body": "BODY"}))).replace("BODY", r"a\u0000b\ud83dc");

    let event = event(body);

    assert_eq!(new_message(&event).content.as_deref(), Some("a\0b\u{fffd}c"));
    assert!(String::from_utf8_lossy(&event.raw).contains(r"a\u0000b\ud83dc"), "as it was sent");
}
