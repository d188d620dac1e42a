//! One request from a provider, step by step: who is meant, may it come in, the whole body, whose signature, enqueue.

use std::{convert::Infallible, error::Error, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    extract::{Path, Query, State, rejection::PathRejection},
    http::{
        HeaderMap, HeaderValue, Request, StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::Utc;
use hyper::body::Incoming;
use providers::{Answer, Door, Handshake, Provider, Verdict};
use tracing::{debug, warn};
use vocabulary::{RawEvent, Source, SourceId};

use super::{
    Intake, Lookup, Refusal,
    body::{self, Bounds},
    memory::Sender,
    refusal::Refused,
};
use crate::EnqueueError;

/// The last part of the path; what is no text is nobody's id.
pub(super) type Id = Result<Path<String>, PathRejection>;

/// `POST`: 200, or what else the provider takes for success, once Redis has the raw event.
pub(super) async fn receive(State(intake): State<Intake>, id: Id, request: Request<Body>) -> Response {
    intake.counters().receive();
    let taken = async { intake.take(&name(id)?, request).await };
    intake.answer_provider(taken.await)
}

/// Likewise, of a source whose id was read already.
pub(super) async fn receive_for(
    intake: Intake,
    id: SourceId,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    intake.counters().receive();
    Ok(intake.answer_provider(intake.take(&id, request).await))
}

/// `GET`: the provider's handshake, answered with the raw challenge.
pub(super) async fn handshake(
    State(intake): State<Intake>,
    id: Id,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    match intake.shake_hands(id, &query).await {
        // Plain text, and no guessing: the challenge is a stranger's text on our address.
        Ok(challenge) => {
            ([(CONTENT_TYPE, "text/plain"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], challenge).into_response()
        }
        Err(refusal) => intake.refuse(refusal),
    }
}

/// Anything else.
pub(super) async fn other_method(State(intake): State<Intake>) -> Response {
    intake.refuse(Refusal::Method)
}

impl Intake {
    async fn take<B>(&self, id: &SourceId, request: Request<B>) -> Result<Answer, Refused>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let (source, provider) = self.open_source(id).await?;
        self.0.pressure.check()?;
        let door = provider.door(source.body_limit, &source.settings);
        let (head, body) = request.into_parts();
        let whole = self.read(&head.headers, body, door.most, (Sender::Provider, &source)).await?;
        let body::Whole { bytes, share: _until_answered } = whole;
        let (raw_event, answer) = self.examine(head, bytes, (provider, &source, &door))?;
        let Some(raw_event) = raw_event else { return Ok(answer) };
        let bytes = raw_event.body.len();
        self.0.producer.hand_in(vec![raw_event], None).await.map_err(|error| refusal_for(&error))?;
        self.counters().accept(1, bytes);
        Ok(answer)
    }

    /// What a genuine request brings, if it brings anything, and what to answer once that is enqueued. The head ends here: what
    /// hyper has read it into is not to wait for Redis.
    fn examine(
        &self,
        head: Parts,
        body: Bytes,
        (provider, source, door): (Provider, &Source, &Door<'_>),
    ) -> Result<(Option<RawEvent>, Answer), Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri).map_err(|_| Refusal::Signature)?.0;
        let now = Utc::now();
        let asked = providers::Request { headers: &head.headers, query: &query, body: &body, now };
        if let Verdict::Forged(reason) = self.verify(provider, source, &asked)? {
            debug!(source.id = %source.id, "source {}: {reason}", source.id);
            return Err(Refusal::Signature);
        }
        if let Some(greeting) = provider.greeting(source, &asked) {
            return Ok((None, greeting));
        }
        let (thanks, headers) = (provider.thanks(&asked), kept(&head.headers, door));
        Ok((Some(RawEvent { source_id: source.id.clone(), received_at: now, headers, body }), thanks))
    }

    fn verify(&self, provider: Provider, source: &Source, asked: &providers::Request<'_>) -> Result<Verdict, Refusal> {
        let Some(url) = provider.certificate_url(source, asked) else { return Ok(provider.verify(source, asked)) };
        let certificates = &self.0.certificates;
        let certificate = certificates.look_up(source, url, asked.now).ok_or(Refusal::Certificate)?;
        let verdict = provider.verify_by(source, asked, &certificate);
        if verdict == Verdict::Genuine {
            certificates.vouched(url, asked.now);
        }
        Ok(verdict)
    }

    async fn shake_hands(&self, id: Id, query: &[(String, String)]) -> Result<String, Refusal> {
        let (source, provider) = self.open_source(&name(id)?).await?;
        match provider.handshake(&source, query) {
            Handshake::Answer(challenge) => Ok(challenge),
            Handshake::Refused | Handshake::None => Err(Refusal::Handshake),
        }
    }

    /// A source whose secrets are known, so that what its provider signs can be verified.
    async fn open_source(&self, id: &SourceId) -> Result<(Arc<Source>, Provider), Refusal> {
        let (source, provider) = self.source(id).await?;
        if source.is_sealed() { Err(Refusal::Sealed) } else { Ok((source, provider)) }
    }

    pub(super) async fn source(&self, id: &SourceId) -> Result<(Arc<Source>, Provider), Refusal> {
        let source = match self.0.book.lookup(id, Utc::now()).await {
            Lookup::Known(source) => source,
            Lookup::Unknown => return Err(Refusal::NoSuchSource),
            Lookup::Stale => return Err(Refusal::Stale),
        };
        let provider = source.provider.parse().map_err(|_| {
            warn!(source.id = %id, "source {id}: this binary does not know the provider {:?}; upgrade it", source.provider);
            Refusal::UnknownProvider
        })?;
        Ok((source, provider))
    }

    pub(super) async fn read<B>(
        &self,
        headers: &HeaderMap,
        body: B,
        limit: usize,
        (sender, source): (Sender, &Source),
    ) -> Result<body::Whole<'_>, Refused>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let announced = body::check_announced(headers, limit)?;
        let share = self.0.memory.share(sender, &source.id);
        let bounds = Bounds { bytes: limit, deadline: self.0.settings.body_deadline, share };
        body::read(body, announced, bounds).await
    }

    fn answer_provider(&self, taken: Result<Answer, Refused>) -> Response {
        taken.map_or_else(|refused| self.refuse(refused), in_its_terms)
    }

    pub(super) fn refuse(&self, refused: impl Into<Refused>) -> Response {
        let refused = refused.into();
        self.counters().refuse(refused.why);
        refused.into_response()
    }
}

/// What is no id is nobody's.
pub(super) fn name(id: Id) -> Result<SourceId, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoSuchSource)?;
    id.parse().map_err(|_| Refusal::NoSuchSource)
}

/// What the provider is told where it expects more than a status.
fn in_its_terms(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    match answer.content_type {
        Some(kind) => {
            (status, [(CONTENT_TYPE, kind), (X_CONTENT_TYPE_OPTIONS, "nosniff")], answer.body).into_response()
        }
        None => status.into_response(),
    }
}

/// The headers that the provider needs later. Each byte of a value is a character, as in ISO-8859-1, which values were in once
/// (RFC 9110, 5.5): so no two values become one, as they would where the bytes that are no UTF-8 are replaced, and one of them
/// may be all that tells two events apart.
pub(super) fn kept(headers: &HeaderMap, door: &Door<'_>) -> Vec<(String, String)> {
    door.keep(headers.iter().map(|(name, value)| (name.as_str(), Latin1(value))))
}

/// A value that is read as text when it is known to be kept: most are not.
struct Latin1<'h>(&'h HeaderValue);

impl From<Latin1<'_>> for String {
    fn from(Latin1(value): Latin1<'_>) -> Self {
        value.as_bytes().iter().copied().map(char::from).collect()
    }
}

pub(super) fn refusal_for(error: &EnqueueError) -> Refusal {
    match error {
        EnqueueError::KeyReused => Refusal::KeyReused,
        EnqueueError::Unkeepable { .. } => Refusal::Unreadable,
        EnqueueError::Busy | EnqueueError::TooLarge { .. } | EnqueueError::Closed => Refusal::Busy,
        EnqueueError::Queue(cause) if matches!(**cause, queue::EnqueueError::Full(_)) => Refusal::RedisFull,
        EnqueueError::Queue(_) | EnqueueError::Unconfirmed => {
            debug!(error = error as &dyn Error, "raw event not taken");
            Refusal::RedisDown
        }
    }
}
