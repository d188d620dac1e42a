//! What an event is known by, and of what kind it is.

use serde_json::json;
use vocabulary::Item;

use super::{split, stripe};
use crate::reason;

#[test]
fn an_event_is_known_by_what_its_source_says_and_the_signature_is_no_part_of_that() {
    let header =
        json!({"algorithm": "hmac-sha256", "signature_header": "s", "key_header": "id", "kind_header": "topic"});
    let hash = json!({"algorithm": "hmac-sha256", "signature_header": "s", "key_hash": true});
    let known = |item: Item| item.map(|event| (event.key.to_string(), event.kind)).unwrap();

    assert_eq!(known(split(&stripe(), &[], r#"{"id":7,"type":"a.b"}"#)), ("7".into(), "a.b".into()));
    assert_eq!(known(split(&header, &[("id", "x"), ("topic", "t")], "no JSON")), ("x".into(), "t".into()));
    assert_eq!(known(split(&hash, &[("s", "1")], "a=b")), known(split(&hash, &[("s", "2")], "a=b")));
    assert_ne!(known(split(&hash, &[], "a=b")), known(split(&hash, &[], "a=c")));
}

#[test]
fn an_id_that_is_a_number_is_its_digits_however_many_they_are() {
    let ids =
        ["36893488147419103233", "36893488147419103234", "12345678901234567.1", "12345678901234567.2", "7", "7.0"];

    let keys = ids.map(|id| split(&stripe(), &[], &format!(r#"{{"id":{id}}}"#)).unwrap().key.to_string());

    assert_eq!(keys, ids);
}

/// Such texts read alike, and two events would be one.
#[test]
fn an_id_that_cannot_be_read_is_none_in_a_header_as_in_a_body() {
    let header = json!({"algorithm": "hmac-sha256", "signature_header": "s", "key_header": "id"});

    let in_body = [r#"{"id":"a\ud83d"}"#, r#"{"id":"a\ufffd"}"#].map(|body| split(&stripe(), &[], body).unwrap_err());
    let in_header = split(&header, &[("id", "a\u{fffd}")], "{}").unwrap_err();

    let reasons = in_body.map(|rejection| rejection.reason);
    assert_eq!((reasons, in_header.reason), ([reason::UNUSABLE_ID; 2], reason::UNUSABLE_ID));
    assert!(in_header.detail.contains("U+FFFD"), "{}", in_header.detail);
}

#[test]
fn an_event_without_its_id_is_rejected_and_told_where_it_was_looked_for() {
    let rejected = split(&stripe(), &[], r#"{"id":{}}"#).unwrap_err();

    assert_eq!((rejected.reason, &rejected.detail[..3]), (reason::MISSING_ID, "/id"));
    assert_eq!(split(&stripe(), &[], "no JSON").unwrap_err().reason, reason::NOT_JSON);
}

#[test]
fn several_ids_are_one_key_in_which_none_can_be_moved_to_the_next() {
    let settings = json!({"algorithm": "hmac-sha256", "signature_header": "s", "key_pointer": ["/a", "/b/c"]});
    let of = |body: &str| split(&settings, &[], body);

    assert_eq!(of(r#"{"a":"x","b":{"c":7}}"#).unwrap().key.as_str(), "x:7");
    assert_ne!(of(r#"{"a":"x:y","b":{"c":"z"}}"#).unwrap().key, of(r#"{"a":"x","b":{"c":"y:z"}}"#).unwrap().key);
    let rejected = of(r#"{"a":"x","b":{}}"#).unwrap_err();
    assert_eq!((rejected.reason, &rejected.detail[..5]), (reason::MISSING_ID, "/b/c:"));
}
