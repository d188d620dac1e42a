//! Where one place ends and the next begins in what is signed.

use serde_json::{Value, json};

use super::source;
use crate::{
    signature::{sign, to_hex},
    testing::{at, genuine_at},
};

/// What stands for a place.
type Filled<'t> = Vec<(&'t str, &'t str)>;

/// Every way to read a template's places out of what is signed.
fn readings<'t>(template: &'t str, signed: &'t str) -> Vec<Filled<'t>> {
    let Some((text, behind)) = template.split_once('{') else {
        return if template == signed { vec![Vec::new()] } else { Vec::new() };
    };
    let Some(signed) = signed.strip_prefix(text) else { return Vec::new() };
    let (place, behind) = behind.split_once('}').unwrap();
    let ends = (0..=signed.len()).flat_map(|end| {
        let with_this = move |rest: Filled<'t>| [vec![(place, &signed[..end])], rest].concat();
        readings(behind, &signed[end..]).into_iter().map(with_this)
    });
    ends.collect()
}

fn settings(template: &str, is_date: bool) -> Value {
    let mut settings =
        json!({"algorithm": "hmac-sha256", "signed": template, "signature_header": "s", "key_hash": true});
    let members = settings.as_object_mut().unwrap();
    if template.contains("{id}") {
        members.insert("id_header".into(), "id".into());
    }
    if template.contains("{timestamp}") {
        members.insert("timestamp_header".into(), "timestamp".into());
        members.insert("timestamp_form".into(), if is_date { "rfc3339" } else { "unix" }.into());
    }
    settings
}

/// Those readings of what was signed once that are taken for genuine.
fn believed<'t>(template: &'t str, signed: &'t str) -> Vec<Filled<'t>> {
    let is_date = signed.contains("2001-09-09");
    let source = source("s", &settings(template, is_date));
    let tag = to_hex(&sign(ring::hmac::HMAC_SHA256, b"s", &[signed.as_bytes()]));
    let is_genuine = |filled: &Filled<'_>| {
        let of = |name: &str| filled.iter().find(|(place, _)| *place == name).map_or("", |(_, value)| *value);
        let headers = [("s", tag.as_str()), ("id", of("id")), ("timestamp", of("timestamp"))];
        genuine_at(&source, &headers, of("body").as_bytes(), at(1_000_000_000))
    };
    readings(template, signed).into_iter().filter(is_genuine).collect()
}

#[test]
fn what_is_signed_once_is_that_of_one_request_only() {
    for (template, signed) in [
        ("{body}{timestamp}", "{\"n\":0}01000000000"),
        ("{timestamp}{body}", "1000000000000"),
        ("{id}.{body}", "a.{}"),
        ("{body}.{id}", "{}.a"),
        ("{id}.{timestamp}.{body}", "a.1000000000.1000000000.{}"),
        ("{body}.{timestamp}.{id}", "{}.1000000000.1000000000.a"),
        ("{body}.{id}{timestamp}", "{}.a1000000000"),
        ("{timestamp}{id}.{body}", "1000000000a.1.{}"),
        ("{id}{timestamp}{body}", "a2001-09-09T01:46:40Z{\"at\":\"2001-09-09T01:46:40Z\"}"),
        ("{id}{timestamp}{body}", "12001-09-09T03:46:40.0+02:00:00Z"),
    ] {
        assert_eq!(believed(template, signed).len(), 1, "{template}: {:?}", believed(template, signed));
    }
}

/// The first and the second reading of these would both be right.
#[test]
fn an_id_that_holds_what_it_would_end_with_is_refused() {
    assert_eq!(believed("{id}..{body}", "a...{}"), [vec![("id", "a"), ("body", ".{}")]]);
    assert_eq!(believed("{body}..{id}", "{}...a"), [vec![("body", "{}."), ("id", "a")]]);
}
