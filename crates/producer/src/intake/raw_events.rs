//! One request from an app, step by step: which source, is its token shown, under which key, the whole body, enqueue.
//!
//! A token takes the place of a provider's signature: the app vouches for the bytes. All that is acceptable in a request is
//! enqueued in one step, or nothing is known to be; what is not acceptable is named, line by line, and stops nothing else.
//! What is answered comes out of the request and of the stamps that the queue gave, so under one key it is the same again.
//!
//! A Redis that is full or slow is answered with 503: no app has done anything wrong. 429 is for one that has: it has more on
//! its way than a source may hold, which is a part of what the producer holds for all, so that providers find room.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{ALLOW, CONTENT_ENCODING},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::Utc;
use providers::{Door, Provider};
use serde_json::{Value, json};
use vocabulary::{Once, RawEvent, Source, SourceId, Stamp};

use super::{
    Intake, Refusal, bearer,
    hooks::{Id, kept, name, refusal_for},
    key,
    lines::{self, Form, LineError, Part},
    memory::Sender,
    refusal::Refused,
};

/// A push of so many is a few milliseconds of Redis, in which it does nothing else.
const MOST_LINES: usize = 10_000;

/// `POST`: 202 once Redis has all that is acceptable in it.
pub(super) async fn enqueue(State(intake): State<Intake>, id: Id, request: Request) -> Response {
    intake.counters().receive();
    match intake.enqueue(id, request).await {
        Ok(lines) => intake.answer(&lines),
        Err(refused) => intake.refuse(refused),
    }
}

/// Anything else.
pub(super) async fn other_method(State(intake): State<Intake>) -> Response {
    intake.counters().refuse(Refusal::Method);
    let error = Json(json!({"error": "only POST is taken here"}));
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")], error).into_response()
}

/// What a line is answered with; a single body is one line.
type Answer = Result<Stamp, LineError>;

impl Intake {
    async fn enqueue(&self, id: Id, request: Request) -> Result<Vec<Answer>, Refused> {
        let (head, body) = request.into_parts();
        let (source, provider) = self.vouched_source(&name(id)?, &head.headers).await?;
        self.0.pressure.check()?;
        check_coding(&head.headers)?;
        let key = key::read(&head.headers)?;
        let _in_use = key.map(|key| self.0.under_way.take_key(&source.id, key)).transpose()?;
        let (form, door) = (Form::of(&head.headers), provider.door(source.body_limit, &source.settings));
        let whole = self.read(&head.headers, body, form.limit(door.most), (Sender::App, &source)).await?;
        // Each line has headers of its own.
        let headers = if form == Form::Single { kept(&head.headers, &door) } else { Vec::new() };
        let parts = match form {
            Form::Single => vec![lines::check(&whole.bytes, &door).map(|()| (headers.clone(), whole.bytes.clone()))],
            Form::Lines => read_lines(&whole.bytes, &door)?,
        };
        let once = key.map(|key| once(&source.id, key, (form, &headers, &whole.bytes), &parts));
        Ok(self.enqueue_parts(&source.id, parts, once).await?)
    }

    /// A source of which a token is shown. One that is not known may have been made a moment ago, as a source may.
    async fn vouched_source(&self, id: &SourceId, headers: &HeaderMap) -> Result<(Arc<Source>, Provider), Refusal> {
        let known = self.source(id).await?;
        if bearer::is_shown(&known.0, headers) {
            return Ok(known);
        }
        if !self.0.book.reread(Utc::now()).await {
            return Err(Refusal::Stale);
        }
        let known = self.source(id).await?;
        if bearer::is_shown(&known.0, headers) { Ok(known) } else { Err(Refusal::Token) }
    }

    /// All that was read in one push. What was not read keeps its place among the answers.
    async fn enqueue_parts(
        &self,
        source_id: &SourceId,
        parts: Vec<Result<Part, LineError>>,
        once: Option<Once>,
    ) -> Result<Vec<Answer>, Refusal> {
        let received_at = Utc::now();
        let new = |(headers, body): &Part| {
            let (source_id, headers, body) = (source_id.clone(), headers.clone(), body.clone());
            RawEvent { source_id, received_at, headers, body }
        };
        let raw_events: Vec<RawEvent> = parts.iter().flatten().map(new).collect();
        let enqueuing = match once {
            None => self.0.producer.enqueue_batch(&raw_events).await,
            Some(once) => self.0.producer.enqueue_once(&raw_events, once).await,
        };
        let mut stamps = enqueuing.map_err(|error| refusal_for(&error))?.into_iter();
        self.counters().accept(raw_events.len(), raw_events.iter().map(|raw_event| raw_event.body.len()).sum());
        self.counters().lines_refused.add(parts.len() - raw_events.len());
        let answers = parts.into_iter().map(|part| match part {
            Ok(_) => stamps.next().map(Ok).ok_or(Refusal::RedisDown),
            Err(error) => Ok(Err(error)),
        });
        answers.collect()
    }

    fn answer(&self, lines: &[Answer]) -> Response {
        let results: Vec<Value> = lines.iter().zip(1..).map(result).collect();
        if lines.iter().any(Result::is_ok) {
            return (StatusCode::ACCEPTED, Json(json!({"results": results}))).into_response();
        }
        self.counters().refuse(Refusal::Unreadable);
        Refusal::Unreadable.with(&results)
    }
}

fn read_lines(body: &Bytes, door: &Door<'_>) -> Result<Vec<Result<Part, LineError>>, Refusal> {
    let lines: Vec<Bytes> = lines::split(body).take(MOST_LINES + 1).collect();
    if lines.len() > MOST_LINES {
        return Err(Refusal::TooManyLines);
    }
    Ok(lines.iter().map(|line| lines::read(line, door)).collect())
}

/// A body that is to be unpacked first: it would be kept as it is, and only the worker would find that it is no JSON.
///
/// The providers' door takes it: it is what was signed, no provider that we know sends one, and quarantine keeps it.
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_identity = |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(is_identity);
    plain.then_some(()).ok_or(Refusal::Coding)
}

/// The same request is one of the same form, headers and bytes, of which the same lines are refused: under another
/// `--max-body`, or by another version of latchhook, others may be, and then the queue has not the stamps for it. Which
/// headers of a line are kept has no part in it.
fn once(
    source_id: &SourceId,
    key: &str,
    (form, headers, body): (Form, &[(String, String)], &Bytes),
    parts: &[Result<Part, LineError>],
) -> Once {
    let refused = parts.iter().zip(0_u64..).filter(|(part, _)| part.is_err());
    let refused: Vec<u8> = refused.flat_map(|(_, place)| place.to_be_bytes()).collect();
    let headers = headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let request: Vec<&[u8]> = [form.as_str().as_bytes(), &refused, body].into_iter().chain(headers).collect();
    Once::new(source_id, key, &request)
}

fn result((answer, line): (&Answer, usize)) -> Value {
    match answer {
        Ok(stamp) => json!({"id": stamp.to_string()}),
        Err(LineError { status, message }) => {
            json!({"error": {"line": line, "status": status.as_u16(), "message": message}})
        }
    }
}
