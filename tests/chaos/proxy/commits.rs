//! What a COMMIT looks like on its way to Postgres, and the answer to it on its way back.
//!
//! Every message is a type (one byte), a length (four, which count themselves) and a body. diesel-async and tokio-postgres
//! send COMMIT as a simple query, `Q` with the text `COMMIT`; the server answers `C` with the tag `COMMIT`, or with the
//! tag `ROLLBACK` if the transaction had failed. Two exceptions, both at the beginning: what a client sends first has no
//! type, and a server answers to its question for encryption with a single byte.
//!
//! Of other messages only the header is looked at. A connection that does not begin as Postgres's do (Redis's begin with
//! `*`) passes as it is.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::{Buf, BytesMut};

use super::CommitCut;

const HEADER: usize = 5;
/// A type, a length, and the text with the NUL that ends it.
const COMMIT_LEN: usize = HEADER + COMMIT.len();
const COMMIT: &[u8] = b"COMMIT\0";
/// A first message's version may be one of these: a question for encryption, by TLS or by GSSAPI.
const QUESTIONS: [u32; 2] = [80_877_103, 80_877_104];
/// A first message of a connection on which no other follows and nothing is answered.
const CANCEL: u32 = 80_877_102;

/// What the two sides of a connection must know of each other.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Questions for encryption that the server has yet to answer with a single byte.
    questions: AtomicUsize,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Side<'c> {
    conversation: &'c Conversation,
    where_cut: CommitCut,
    state: State,
    /// What has come and cannot be passed on yet, because it may become a COMMIT: less than one.
    held: BytesMut,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing has come yet.
    Silent,
    /// A client's first messages, which have no type.
    Opening,
    /// Inside a message that is not looked at, this many bytes from its end.
    Within(usize),
    /// Not Postgres, or nothing more to be looked for.
    Opaque,
}

impl Conversation {
    /// The direction in which a COMMIT is cut there.
    pub(super) fn side(&self, where_cut: CommitCut) -> Side<'_> {
        Side { conversation: self, where_cut, state: State::Silent, held: BytesMut::new() }
    }
}

impl Side<'_> {
    /// Gives what may be passed on after this chunk has come.
    ///
    /// # Errors
    /// When a COMMIT has come and `cut` says that it is to be cut: the connection is to be reset.
    pub(super) fn pass(&mut self, chunk: &[u8], mut cut: impl FnMut(CommitCut) -> bool) -> io::Result<BytesMut> {
        self.held.extend_from_slice(chunk);
        let mut passed = BytesMut::new();
        while let Some(len) = self.next(&mut cut)? {
            passed.unsplit(self.held.split_to(len));
        }
        Ok(passed)
    }

    /// How many of the held bytes can be passed on, as far as can be said; to be asked again after they were.
    fn next(&mut self, cut: &mut impl FnMut(CommitCut) -> bool) -> io::Result<Option<usize>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        match self.state {
            State::Silent => {
                self.state = match (self.where_cut, self.held[0]) {
                    (CommitCut::BeforeServer, 0) => State::Opening,
                    (CommitCut::AfterServer, b'N' | b'S' | b'R' | b'E') => State::Within(0),
                    _ => State::Opaque,
                };
                self.next(cut)
            }
            State::Opening => Ok(self.opening()),
            State::Within(0) => self.message(cut),
            State::Within(left) => {
                let len = left.min(self.held.len());
                self.state = State::Within(left - len);
                Ok(Some(len))
            }
            State::Opaque => Ok(Some(self.held.len())),
        }
    }

    fn opening(&mut self) -> Option<usize> {
        let mut header = self.held.get(..8)?;
        let (len, version) = (header.get_u32() as usize, header.get_u32());
        if self.held.len() < len {
            return None;
        }
        if QUESTIONS.contains(&version) {
            self.conversation.questions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.state = if version == CANCEL { State::Opaque } else { State::Within(0) };
        }
        Some(len.max(8))
    }

    fn message(&mut self, cut: &mut impl FnMut(CommitCut) -> bool) -> io::Result<Option<usize>> {
        if self.where_cut == CommitCut::AfterServer && self.is_single_byte() {
            return Ok(Some(1));
        }
        let Some(mut header) = self.held.get(..HEADER) else { return Ok(None) };
        let (kind, len) = (header.get_u8(), header.get_u32() as usize + 1);
        if kind == self.kind_of_commit() && len == COMMIT_LEN {
            let Some(message) = self.held.get(..COMMIT_LEN) else { return Ok(None) };
            if message[HEADER..].eq_ignore_ascii_case(COMMIT) && cut(self.where_cut) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        self.state = State::Within(len);
        self.next(cut)
    }

    /// A single byte answers each question for encryption, and nothing comes before it.
    fn is_single_byte(&self) -> bool {
        let less_one = |questions: usize| questions.checked_sub(1);
        self.conversation.questions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_ok()
    }

    fn kind_of_commit(&self) -> u8 {
        match self.where_cut {
            CommitCut::BeforeServer => b'Q',
            CommitCut::AfterServer => b'C',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: &[u8] = b"\0\0\0\x09\0\x03\0\0\0";
    const QUESTION: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], len.as_slice(), body].concat()
    }

    /// Gives the chunks one by one; what was passed until all have come or a COMMIT was cut.
    fn feed(side: &mut Side<'_>, bytes: &[u8], chunk: usize, cuts: bool) -> (Vec<u8>, bool) {
        let mut passed = Vec::new();
        for chunk in bytes.chunks(chunk) {
            match side.pass(chunk, |_| cuts) {
                Ok(more) => passed.extend_from_slice(&more),
                Err(_) => return (passed, true),
            }
        }
        (passed, false)
    }

    #[test]
    fn a_commit_is_found_however_it_is_chunked_and_nothing_before_it_is_withheld() {
        let before = [QUESTION, STARTUP, &message(b'Q', b"SELECT 1\0"), &message(b'B', &[0; 50])].concat();
        let bytes = [before.as_slice(), &message(b'Q', b"COMMIT\0"), &message(b'X', b"")].concat();

        for chunk in 1..=bytes.len() {
            let conversation = Conversation::default();
            let mut up = conversation.side(CommitCut::BeforeServer);
            let (passed, cut) = feed(&mut up, &bytes, chunk, true);

            assert!(cut, "in chunks of {chunk}");
            assert!(before.starts_with(&passed), "in chunks of {chunk}");
            assert!(before.len() - passed.len() < chunk, "in chunks of {chunk}");
        }
    }

    #[test]
    fn the_answer_is_found_behind_the_single_byte_that_refuses_encryption() {
        let conversation = Conversation::default();
        feed(&mut conversation.side(CommitCut::BeforeServer), &[QUESTION, STARTUP].concat(), 3, true);
        let rows = message(b'D', &message(b'C', b"COMMIT\0"));
        let bytes = [b"N", rows.as_slice(), &message(b'C', b"ROLLBACK\0"), &message(b'C', b"SELECT\0")].concat();

        let mut down = conversation.side(CommitCut::AfterServer);

        assert_eq!(feed(&mut down, &bytes, 7, true), (bytes, false), "none of these says that it was committed");
        assert!(feed(&mut down, &message(b'C', b"COMMIT\0"), 7, true).1);
    }

    #[test]
    fn everything_passes_unchanged_while_nothing_is_to_be_cut() {
        let up = [STARTUP, &message(b'Q', b"COMMIT\0"), &message(b'd', &[7; 40_000])].concat();
        let redis = b"*1\r\n$6\r\nQ\0\0\0\x0bCOMMIT\0\r\n";

        for bytes in [up.as_slice(), redis] {
            let conversation = Conversation::default();
            let (passed, cut) = feed(&mut conversation.side(CommitCut::BeforeServer), bytes, 11, false);
            assert_eq!((passed.as_slice(), cut), (bytes, false));
        }
        let conversation = Conversation::default();
        let (passed, cut) = feed(&mut conversation.side(CommitCut::BeforeServer), redis, 5, true);
        assert_eq!((passed.as_slice(), cut), (redis.as_slice(), false), "Redis knows no COMMIT");
    }
}
