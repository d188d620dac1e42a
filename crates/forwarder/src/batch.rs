//! Rows of the outbox, sorted: those that can be enqueued, those that never can, and those that wait for one of these.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use database::outbox::{HEADERS, Waiting};
use providers::{Door, Provider, ProviderError, TooLarge};
use queue::Directory;
use serde_json::Value;
use vocabulary::{RawEvent, SourceId};

/// What is to become of the rows that were read together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// To be enqueued, in the order of the rows.
    pub(crate) raw_events: Vec<RawEvent>,
    /// The rows that they come from.
    pub(crate) forwarded: Vec<i64>,
    /// To be put aside.
    pub(crate) failed: Vec<(i64, String)>,
}

/// Why a row can never be enqueued as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("there is no enabled source {0:?}: add or enable it, then retry")]
    UnknownSource(String),
    #[error(transparent)]
    UnknownProvider(#[from] ProviderError),
    #[error("{0}: give it a larger --max-body and retry, or delete the row")]
    TooLarge(#[from] TooLarge),
    #[error("headers must be one JSON object of texts, of at most {HEADERS} characters")]
    Headers,
    #[error("the header {0:?} is no text")]
    HeaderNoText(String),
}

impl Batch {
    /// Sorts rows that are in the order of their ids. What follows a failed row of its key is left alone.
    pub(crate) fn sort(rows: Vec<Waiting>, directory: &Directory, now: DateTime<Utc>) -> Self {
        let mut batch = Self::default();
        let mut stuck: HashSet<(String, String)> = HashSet::new();
        for mut row in rows {
            let lane = row.key.take().map(|key| (row.source_id.clone(), key));
            if lane.as_ref().is_some_and(|lane| stuck.contains(lane)) {
                continue;
            }
            let id = row.id;
            match raw_event(row, directory, now) {
                Ok(raw_event) => {
                    batch.raw_events.push(raw_event);
                    batch.forwarded.push(id);
                }
                Err(fault) => {
                    batch.failed.push((id, fault.to_string()));
                    stuck.extend(lane);
                }
            }
        }
        batch
    }
}

fn raw_event(row: Waiting, directory: &Directory, received_at: DateTime<Utc>) -> Result<RawEvent, Fault> {
    let known = row.source_id.parse().ok().and_then(|id: SourceId| directory.get_key_value(&id));
    let (source_id, listed) = known.ok_or(Fault::UnknownSource(row.source_id))?;
    let door = listed.provider.parse::<Provider>()?.door(listed.body_limit, &listed.settings);
    let bytes = usize::try_from(row.body_bytes).unwrap_or_default();
    door.check(bytes)?;
    // One that was not read is larger than any source may take.
    let body = row.body.ok_or(TooLarge { bytes, most: door.most })?;
    let headers = kept(row.headers.as_deref(), &door)?;
    Ok(RawEvent { source_id: source_id.clone(), received_at, headers, body: body.into() })
}

/// The headers that the provider needs later. All are looked at, so that a mistake in one shows before it matters.
fn kept(json: Option<&str>, door: &Door<'_>) -> Result<Vec<(String, String)>, Fault> {
    let short = json.filter(|json| json.chars().count() <= HEADERS);
    let Some(Ok(Value::Object(headers))) = short.map(serde_json::from_str) else { return Err(Fault::Headers) };
    let texts = headers.into_iter().map(|(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(Fault::HeaderNoText(name)),
    });
    let texts: Vec<(String, String)> = texts.collect::<Result<_, _>>()?;
    Ok(door.keep(texts.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

#[cfg(test)]
mod tests {
    use queue::Listed;
    use serde_json::Map;

    use super::*;

    fn row(id: i64, source_id: &str, key: Option<&str>) -> Waiting {
        Waiting {
            id,
            source_id: source_id.to_owned(),
            key: key.map(str::to_owned),
            body: Some(b"{}".to_vec()),
            body_bytes: 2,
            headers: Some("{}".to_owned()),
        }
    }

    fn sort(rows: Vec<Waiting>) -> Batch {
        let listed = Listed { provider: "whatsapp".to_owned(), body_limit: None, settings: Map::new() };
        Batch::sort(rows, &Directory::from([("wa".parse().unwrap(), listed)]), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn what_follows_a_failed_row_of_its_key_is_left_alone_and_nothing_else_is() {
        let broken = Waiting { headers: Some("[]".to_owned()), ..row(1, "wa", Some("a")) };

        let batch = sort(vec![
            broken,
            row(2, "wa", Some("a")),
            row(3, "wa", Some("b")),
            row(4, "wa", None),
            row(5, "no", None),
        ]);

        assert_eq!(batch.forwarded, [3, 4]);
        assert_eq!(batch.failed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn every_reason_names_what_is_wrong() {
        let large = Waiting { body: None, body_bytes: 99_000_000, ..row(1, "wa", None) };
        let headers = |json: &str| Waiting { headers: Some(json.to_owned()), ..row(1, "wa", None) };
        let unread = Waiting { headers: None, ..row(1, "wa", None) };
        let long = format!("{{\"a\": \"{}\"}}", "é".repeat(HEADERS));

        let reasons = |rows| sort(rows).failed.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>();

        assert_eq!(
            reasons(vec![row(1, "no:id", None)]),
            ["there is no enabled source \"no:id\": add or enable it, then retry"]
        );
        let most = Provider::WhatsApp.body_limit();
        assert_eq!(
            reasons(vec![large]),
            [format!(
                "the body has 99000000 bytes, of {most} that this source takes: give it a larger --max-body and retry, or \
                 delete the row"
            )]
        );
        let shape = "headers must be one JSON object of texts, of at most 65536 characters";
        assert_eq!(reasons(["[]", "null", "1e999", &long].map(headers).to_vec()), [shape; 4]);
        assert_eq!(reasons(vec![unread]), [shape]);
        assert_eq!(reasons(vec![headers("{\"x-hub\": 1}")]), ["the header \"x-hub\" is no text"]);
    }
}
