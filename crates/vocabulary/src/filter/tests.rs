use proptest::{collection::vec, prelude::*};

use super::*;

const BODY: &str = r#"{"type": "message_updated", "data": {"sequence": 7, "message": {"kind": "text", "status": null,
    "content": "caf\u00e9", "attachments": [{"kind": "image"}]}, "changed": {"status": {"from": "sent", "to": "read"}},
    "raw": {"broken": "\ud83d", "flag": true, "id": 123456789012345678901234567890, "nul": "a\u0000b"}}}"#;

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn answer(text: &str) -> Answer {
    filter(text).answer(&View::of(BODY.as_bytes()).unwrap())
}

fn refused(text: &str) -> String {
    text.parse::<Filter>().unwrap_err().to_string()
}

#[test]
fn a_condition_compares_what_its_pointer_leads_to_and_coerces_nothing() {
    for holds in [
        r#"{"pointer": "/data/message/kind", "equals": "text"}"#,
        r#"{"pointer": "/data/message/attachments/0/kind", "in": ["video", "image"]}"#,
        r#"{"pointer": "/data/changed/status", "exists": true}"#,
        r#"{"exists": false, "pointer": "/data/changed/content"}"#,
        r#"{"pointer": "/data/message/status", "equals": null}"#,
        r#"{"pointer": "/data/message/status", "exists": true}"#,
        r#"{"pointer": "/data/message/content", "equals": "café"}"#,
        r#"{"pointer": "/data/sequence", "equals": 7.0}"#,
        r#"{"pointer": "/data/raw/flag", "equals": true}"#,
        r#"{"pointer": "/data/raw/id", "equals": 123456789012345678901234567890}"#,
        r#"{"pointer": "/data/raw/nul", "in": ["a\u0000b"]}"#,
        r#"{"pointer": "", "exists": true}"#,
    ] {
        assert_eq!(answer(holds), Answer::Holds, "{holds}");
    }
    for fails in [
        r#"{"pointer": "/data/message/kind", "equals": "Text"}"#,
        r#"{"pointer": "/data/message/kind", "in": ["image"]}"#,
        r#"{"pointer": "/data/message/content", "equals": "cafe\u0301"}"#,
        r#"{"pointer": "/data/message/nothing", "equals": null}"#,
        r#"{"pointer": "/data/sequence", "equals": "7"}"#,
        r#"{"pointer": "/data/raw/flag", "in": [1, "true"]}"#,
        r#"{"pointer": "/data/raw/id", "equals": 123456789012345678901234567891}"#,
        r#"{"pointer": "/data/message/attachments", "equals": "image"}"#,
        r#"{"pointer": "/type/0", "exists": true}"#,
    ] {
        assert_eq!(answer(fails), Answer::Fails, "{fails}");
    }
}

const YES: &str = r#"{"pointer": "/type", "exists": true}"#;
const NO: &str = r#"{"pointer": "/type", "exists": false}"#;
const UNREADABLE: &str = r#"{"pointer": "/data/raw/broken", "equals": "?"}"#;

#[test]
fn conditions_are_put_together_as_logic_says_and_in_whatever_order() {
    for (text, expected) in [
        (format!("[{YES}, {YES}]"), Answer::Holds),
        (format!("[{YES}, {NO}]"), Answer::Fails),
        (format!(r#"{{"any": [{NO}, {YES}]}}"#), Answer::Holds),
        (format!(r#"{{"any": [{NO}, {NO}]}}"#), Answer::Fails),
        (format!(r#"{{"not": {NO}}}"#), Answer::Holds),
        (format!(r#"{{"not": [{YES}, {{"any": [{NO}, {YES}]}}]}}"#), Answer::Fails),
    ] {
        assert_eq!(answer(&text), expected, "{text}");
    }
}

/// Nothing is lost for what cannot be read, and nothing is told that the readable conditions refuse anyway.
#[test]
fn what_cannot_be_read_is_wanted_unless_the_other_conditions_settle_it() {
    for (text, expected) in [
        (UNREADABLE.to_owned(), Answer::Unreadable),
        (format!(r#"{{"not": {UNREADABLE}}}"#), Answer::Unreadable),
        (format!("[{YES}, {UNREADABLE}]"), Answer::Unreadable),
        (format!("[{UNREADABLE}, {NO}]"), Answer::Fails),
        (format!("[{NO}, {UNREADABLE}]"), Answer::Fails),
        (format!(r#"{{"any": [{UNREADABLE}, {NO}]}}"#), Answer::Unreadable),
        (format!(r#"{{"any": [{UNREADABLE}, {YES}]}}"#), Answer::Holds),
    ] {
        assert_eq!(answer(&text), expected, "{text}");
        let wants = filter(&text).wants(&View::of(BODY.as_bytes()).unwrap());
        assert_eq!(wants, expected != Answer::Fails, "{text}");
    }
}

#[test]
fn the_conditions_that_decide_are_no_more_than_it_takes() {
    let body = View::of(BODY.as_bytes()).unwrap();
    let deciding = |text: &str| {
        let filter = filter(text);
        filter.deciding(&body).into_iter().map(|condition| condition.pointer().to_owned()).collect::<Vec<_>>()
    };
    let (yes, no) = (r#"{"pointer": "/data", "exists": true}"#, r#"{"pointer": "/data/no", "exists": true}"#);

    assert_eq!(deciding(&format!("[{YES}, {yes}]")), ["/type", "/data"]);
    assert_eq!(deciding(&format!("[{YES}, {no}, {NO}]")), ["/data/no"]);
    assert_eq!(deciding(&format!(r#"{{"any": [{no}, {yes}, {YES}]}}"#)), ["/data"]);
    assert_eq!(deciding(&format!(r#"{{"not": {{"any": [{no}, {NO}]}}}}"#)), ["/data/no", "/type"]);
}

#[test]
fn what_is_no_filter_is_refused_with_its_place() {
    let condition = r#"{"pointer": "/a", "equals": 1}"#;
    for (text, what) in [
        (r#"{"pointer": "/a""#.to_owned(), "the filter is no JSON: EOF"),
        (r#""text""#.to_owned(), "the filter: \"text\" is no condition: there are {\"pointer\": P, \"equals\": V}"),
        ("[]".to_owned(), "the filter: an empty list says nothing"),
        (r#"{"any": []}"#.to_owned(), "the filter at /any: an empty list says nothing"),
        (r#"{"any": {}}"#.to_owned(), "the filter at /any: {} is no list"),
        (r#"{"pointer": "/a", "in": []}"#.to_owned(), "the filter at /in: an empty list says nothing"),
        (r#"{"pointer": "/a", "in": "a"}"#.to_owned(), "the filter at /in: \"a\" is no list"),
        (r#"{"pointer": "a", "equals": 1}"#.to_owned(), "the filter at /pointer: \"a\" is no JSON pointer"),
        (r#"{"pointer": "/a~", "equals": 1}"#.to_owned(), "the filter at /pointer: \"/a~\" is no JSON pointer"),
        (r#"{"pointer": 1, "equals": 1}"#.to_owned(), "the filter at /pointer: 1 is no JSON pointer"),
        (r#"{"pointer": "/a", "exists": 1}"#.to_owned(), "the filter at /exists: 1 is neither true nor false"),
        (r#"{"pointer": "/a", "equals": [1]}"#.to_owned(), "the filter at /equals: [1] is no text, number"),
        (r#"{"pointer": "/a", "equals": "\ud800"}"#.to_owned(), "the filter at /equals: \"\\ud800\" is no text"),
        (format!(r#"[{condition}, {{"pointer": "/a", "equal": 1}}]"#), "the filter at /1: there is no field \"equal\""),
        (r#"{"not": {"any": [{"all": 1}]}}"#.to_owned(), "the filter at /not/any/0: there is no field \"all\""),
        (r#"{"pointer": "/a"}"#.to_owned(), "the filter: these fields do not go together"),
        (r#"{"pointer": "/a", "equals": 1, "equals": 2}"#.to_owned(), "the filter: these fields do not go together"),
        (format!(r#"{{"any": [{condition}], "not": {condition}}}"#), "the filter: these fields do not go together"),
        (format!("[{}]", vec![condition; 33].join(",")), "the filter has more than 32 conditions"),
        (format!("{}{condition}{}", "[".repeat(17), "]".repeat(17)), "more than 16 steps lead to it"),
        ("[".repeat(4000) + &"]".repeat(4000), "more than 16 steps lead to it"),
        (" ".repeat(8193), "the filter has 8193 bytes, the longest allowed is 8192"),
    ] {
        let refused = refused(&text);
        assert!(refused.contains(what), "{refused}\n{what}");
    }
    let (most, deepest) = (vec![condition; 32].join(","), format!("{}{condition}{}", "[".repeat(16), "]".repeat(16)));
    assert!(format!("[{most}]").parse::<Filter>().is_ok() && deepest.parse::<Filter>().is_ok());
}

fn any_filter() -> impl Strategy<Value = String> {
    let number =
        prop_oneof![any::<i64>().prop_map(|n| n.to_string()), "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,9})?(e-?[0-9]{1,4})?"];
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let scalar = prop_oneof![Just("null".to_owned()), any::<bool>().prop_map(|it| it.to_string()), number, text];
    let operator = prop_oneof![
        scalar.clone().prop_map(|value| format!(r#""equals": {value}"#)),
        vec(scalar, 1..4).prop_map(|values| format!(r#""in": [{}]"#, values.join(","))),
        any::<bool>().prop_map(|exists| format!(r#""exists": {exists}"#)),
    ];
    let condition = (vec("([^~]|~0|~1){0,5}", 0..4), operator).prop_map(|(tokens, operator)| {
        let pointer: String = tokens.iter().map(|token| format!("/{token}")).collect();
        format!(r#"{{"pointer": {}, {operator}}}"#, serde_json::to_string(&pointer).unwrap())
    });
    condition.prop_recursive(4, 20, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(|all| format!("[{}]", all.join(","))),
            vec(inner.clone(), 1..4).prop_map(|any| format!(r#"{{"any": [{}]}}"#, any.join(","))),
            inner.prop_map(|not| format!(r#"{{"not": {not}}}"#)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// As Postgres keeps it, and a worker reads it back.
    #[test]
    fn every_filter_that_is_accepted_comes_back_as_it_went_in(text in any_filter()) {
        prop_assume!(text.len() < Filter::MAX_BYTES / 2);

        match text.parse::<Filter>() {
            Ok(filter) => prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter)),
            Err(error) => prop_assert_eq!(error, FilterError::TooMany),
        }
    }

    #[test]
    fn whatever_text_there_is_is_read_or_refused(text in any::<String>(), filter in any_filter(), cut in any::<prop::sample::Index>()) {
        let _ = text.parse::<Filter>();
        let cut = filter.char_indices().map(|(at, _)| at).nth(cut.index(filter.chars().count())).unwrap_or(0);
        prop_assert!(filter[..cut].parse::<Filter>().is_err());
    }

    /// What cannot be read is wanted either way; everything else by exactly one of them.
    #[test]
    fn a_filter_and_its_opposite_never_both_refuse(text in any_filter(), body in any_filter()) {
        let (Ok(filter), Ok(opposite)) = (text.parse::<Filter>(), format!(r#"{{"not": {text}}}"#).parse::<Filter>()) else {
            return Ok(());
        };
        let view = View::of(body.as_bytes()).unwrap();

        let both = (filter.wants(&view), opposite.wants(&view));

        prop_assert_eq!(both.0 && both.1, filter.answer(&view) == Answer::Unreadable);
        prop_assert!(both.0 || both.1);
        prop_assert!(!filter.deciding(&view).is_empty());
    }
}
