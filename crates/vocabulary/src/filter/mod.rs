//! What an event's body must say for an endpoint to want it.
//!
//! A [`Filter`] is a condition, or conditions put together:
//!
//! ```text
//! {"pointer": "/data/message/kind", "equals": "text"}             this value
//! {"pointer": "/data/message/kind", "in": ["text", "image"]}      one of these values
//! {"pointer": "/data/changed/status", "exists": true}             something is there, and be it null
//! [FILTER, …]    all of them     {"any": [FILTER, …]}    one of them     {"not": FILTER}    not this one
//! ```
//! A pointer is one of RFC 6901. Values are texts, numbers, true, false and null: nothing is coerced, texts are the same by
//! their code points, numbers by their value (1 is 1.0), however many digits they have.
//!
//! It is asked of the *full* body of an event, whichever body the endpoint is told. [`View`] reads that body as far as
//! pointers lead, once for all filters that are asked of it. Some of what providers send can be passed on, and not read: half
//! a surrogate pair is no text. A condition on such a value has no answer, and then nothing may be lost: unless the
//! other conditions settle it, the event is wanted.

mod number;
mod parse;
mod view;

#[cfg(test)]
mod tests;

use serde::Serialize;

use self::{
    number::Number,
    view::{Found, Pointer},
};
pub use self::{
    parse::FilterError,
    view::{Unreadable, View},
};

/// What an endpoint's events must say, checked. Reads and writes itself as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Filter(Test);

/// Conditions, put together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Test {
    Condition(Condition),
    All(Vec<Test>),
    Any { any: Vec<Test> },
    Not { not: Box<Test> },
}

/// What must be true of the value that a pointer leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Condition {
    pointer: Pointer,
    #[serde(flatten)]
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Operator {
    Equals(Scalar),
    In(Vec<Scalar>),
    Exists(bool),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

/// What a filter says of a body. In this order, all of several is the least of their answers, and any of them the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// No.
    Fails,
    /// What is asked about cannot be read.
    Unreadable,
    /// Yes.
    Holds,
}

impl Answer {
    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    fn not(self) -> Self {
        match self {
            Self::Fails => Self::Holds,
            Self::Unreadable => Self::Unreadable,
            Self::Holds => Self::Fails,
        }
    }
}

impl Filter {
    /// Whether an event with this body is wanted. What cannot be read is: nothing is lost for it.
    pub fn wants(&self, body: &View<'_>) -> bool {
        self.answer(body) > Answer::Fails
    }

    /// What it says of this body.
    pub fn answer(&self, body: &View<'_>) -> Answer {
        self.0.answer(body)
    }

    /// The conditions that make the answer what it is, whatever the others say.
    pub fn deciding(&self, body: &View<'_>) -> Vec<&Condition> {
        let mut deciding = Vec::new();
        self.0.decide(body, &mut deciding);
        deciding
    }
}

impl Test {
    /// No list is empty: such a filter is refused.
    fn answer(&self, body: &View<'_>) -> Answer {
        match self {
            Self::Condition(condition) => condition.answer(body),
            Self::All(all) => all.iter().map(|test| test.answer(body)).min().unwrap_or(Answer::Holds),
            Self::Any { any } => any.iter().map(|test| test.answer(body)).max().unwrap_or(Answer::Fails),
            Self::Not { not } => not.answer(body).not(),
        }
    }

    /// One test is enough where it has the answer alone; where they all had to say the same, all of them count.
    fn decide<'f>(&'f self, body: &View<'_>, deciding: &mut Vec<&'f Condition>) {
        let (tests, unanimous) = match self {
            Self::Condition(condition) => return deciding.push(condition),
            Self::Not { not } => return not.decide(body, deciding),
            Self::All(all) => (all, Answer::Holds),
            Self::Any { any } => (any, Answer::Fails),
        };
        let answer = self.answer(body);
        let saying_so = tests.iter().filter(|test| test.answer(body) == answer);
        let enough = if answer == unanimous { tests.len() } else { 1 };
        saying_so.take(enough).for_each(|test| test.decide(body, deciding));
    }
}

impl Condition {
    /// Where it looks.
    pub fn pointer(&self) -> &str {
        self.pointer.as_str()
    }

    /// What a body has there, as JSON.
    ///
    /// # Errors
    /// When the way there cannot be read.
    pub fn looks_at<'b>(&self, body: &'b View<'_>) -> Result<Option<&'b str>, Unreadable> {
        Ok(self.pointer.find(body)?.map(View::json))
    }

    /// What it says of a body.
    pub fn answer(&self, body: &View<'_>) -> Answer {
        self.holds(body).map_or(Answer::Unreadable, Answer::of)
    }

    fn holds(&self, body: &View<'_>) -> Result<bool, Unreadable> {
        let there = self.pointer.find(body)?;
        match (&self.operator, there) {
            (Operator::Exists(exists), there) => Ok(*exists == there.is_some()),
            (_, None) => Ok(false),
            (Operator::Equals(scalar), Some(there)) => Ok(scalar.is(&there.read()?)),
            (Operator::In(scalars), Some(there)) => {
                let found = there.read()?;
                Ok(scalars.iter().any(|scalar| scalar.is(&found)))
            }
        }
    }
}

impl Scalar {
    fn is(&self, found: &Found) -> bool {
        match (self, found) {
            (Self::Null, Found::Null) => true,
            (Self::Bool(this), Found::Bool(that)) => this == that,
            (Self::Number(this), Found::Number(that)) => this.value() == that,
            (Self::Text(this), Found::Text(that)) => this == that,
            _ => false,
        }
    }
}
