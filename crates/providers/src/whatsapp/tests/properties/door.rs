//! Whom the door opens to.

use proptest::{collection::vec, prelude::*};

use crate::properties;

proptest! {
    #[test]
    fn only_the_right_signature_is_genuine_however_it_is_written(
        headers in vec(prop_oneof![
            "(sha256=|SHA256=|sha1=|sha256| sha256=|)[%^0-9a-fA-F]{0,3}[ ,;+\t]?[%^]?",
            "sha256=[0-9a-f]{64}",
            "\\PC{0,80}",
        ], 0..3),
        body in vec(any::<u8>(), 0..100),
    ) {
        properties::signature(headers.join("\n").as_bytes(), &body);
    }

    #[test]
    fn no_one_byte_of_the_right_signature_can_be_another(at in 0..71_usize, byte in any::<u8>()) {
        let mut header = b"sha256=%".to_vec();
        match at {
            0..7 => header[at] = byte,
            // In front of the digits, behind them, or instead of some.
            7..30 => header.insert(7, byte),
            30..60 => header.push(byte),
            _ => header.splice(7.., [byte]).for_each(drop),
        }
        properties::signature(&header, b"{}");
    }

    #[test]
    fn a_handshake_is_answered_to_whoever_shows_all_three_once_and_to_nobody_else(
        query in vec((
            prop::sample::select(&["hub.mode", "hub.verify_token", "hub.challenge", "hub.Mode", "hub.mode ", "other"]),
            prop::sample::select(&["subscribe", properties::VERIFY_TOKEN, "1158201444", "", "fixture-verify-toke"]),
        ), 0..5),
        right in prop::bool::ANY,
    ) {
        let right_ones = [("hub.mode", "subscribe"), ("hub.verify_token", properties::VERIFY_TOKEN), ("hub.challenge", "<1>")];
        let all = right_ones.iter().copied().filter(|_| right).chain(query);
        let all: Vec<_> = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        properties::handshake(&all);
    }
}
