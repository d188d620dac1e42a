//! Reading a filter: strictly, and with an error that names the place.

use std::{fmt, str::FromStr};

use serde_json::value::RawValue;

use super::{
    Condition, Filter, Operator, Scalar, Test,
    number::Number,
    view::{Members, Pointer},
};

/// The characters of a filter's own text that an error shows.
const SHOWN: usize = 60;

/// What a filter is made of, for whoever wrote something else.
const ALLOWED: &str = "there are {\"pointer\": P, \"equals\": V}, {\"pointer\": P, \"in\": [V]}, {\"pointer\": P, \"exists\": true}, \
                       [FILTER], {\"any\": [FILTER]} and {\"not\": FILTER}";

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too long.
    #[error("the filter has {0} bytes, the longest allowed is {max}", max = Filter::MAX_BYTES)]
    TooLong(usize),
    /// Too many of them.
    #[error("the filter has more than {max} conditions", max = Filter::MAX_CONDITIONS)]
    TooMany,
    /// No JSON.
    #[error("the filter is no JSON: {0}")]
    NotJson(String),
    /// Something in it.
    #[error("{place}: {what}")]
    Part {
        /// Where: `the filter`, or below it, `the filter at /any/0`.
        place: String,
        /// What is wrong there, and what there may be.
        what: String,
    },
}

impl Filter {
    /// The longest filter, in bytes: it is read in every transaction that has events for its endpoint.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// The most conditions of one filter, for the same reason.
    pub const MAX_CONDITIONS: usize = 32;

    /// The most steps that lead to a condition: an `any`, a `not`, a place in a list.
    pub const MAX_DEPTH: usize = 16;
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > Self::MAX_BYTES {
            return Err(FilterError::TooLong(text.len()));
        }
        let json: &RawValue = serde_json::from_str(text).map_err(|error| FilterError::NotJson(error.to_string()))?;
        let mut conditions = 0;
        let part = Part { json, place: Place { above: None, token: "" }, depth: 0 };
        part.test(&mut conditions).map(Self)
    }
}

impl fmt::Display for Filter {
    /// As JSON, in the shortest form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Display for Condition {
    /// As JSON, in the shortest form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Where a part of a filter is.
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    token: &'p str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.above {
            None => f.write_str("the filter"),
            Some(above) if above.above.is_none() => write!(f, "the filter at /{}", shown(self.token)),
            Some(above) => write!(f, "{above}/{}", shown(self.token)),
        }
    }
}

/// A part of a filter that has not been read yet.
struct Part<'p> {
    json: &'p RawValue,
    place: Place<'p>,
    depth: usize,
}

impl<'p> Part<'p> {
    fn below(&'p self, token: &'p str, json: &'p RawValue) -> Self {
        Self { json, place: Place { above: Some(&self.place), token }, depth: self.depth + 1 }
    }

    fn wrong(&self, what: impl fmt::Display) -> FilterError {
        FilterError::Part { place: self.place.to_string(), what: what.to_string() }
    }

    fn test(&self, conditions: &mut usize) -> Result<Test, FilterError> {
        if self.depth > Filter::MAX_DEPTH {
            return Err(self.wrong(format_args!("more than {} steps lead to it", Filter::MAX_DEPTH)));
        }
        match self.json.get().as_bytes().first() {
            Some(b'[') => self.list(conditions).map(Test::All),
            Some(b'{') => self.object(conditions),
            _ => Err(self.wrong(format_args!("{} is no condition: {ALLOWED}", shown(self.json.get())))),
        }
    }

    fn list(&self, conditions: &mut usize) -> Result<Vec<Test>, FilterError> {
        let elements = self.elements()?;
        let read = |(index, json): (usize, &RawValue)| self.below(&index.to_string(), json).test(conditions);
        elements.into_iter().enumerate().map(read).collect()
    }

    /// The elements of a list that has some.
    fn elements(&self) -> Result<Vec<&'p RawValue>, FilterError> {
        let elements: Option<Vec<&RawValue>> = serde_json::from_str(self.json.get()).ok();
        let elements = elements.ok_or_else(|| self.wrong(format_args!("{} is no list", shown(self.json.get()))))?;
        if elements.is_empty() { Err(self.wrong("an empty list says nothing")) } else { Ok(elements) }
    }

    fn object(&self, conditions: &mut usize) -> Result<Test, FilterError> {
        let Members(members) = serde_json::from_str(self.json.get()).map_err(|error| self.wrong(error))?;
        let members: Vec<_> = members.iter().map(|(name, json)| (name.as_str(), *json)).collect();
        match members[..] {
            [("any", json)] => Ok(Test::Any { any: self.below("any", json).list(conditions)? }),
            [("not", json)] => Ok(Test::Not { not: Box::new(self.below("not", json).test(conditions)?) }),
            [("pointer", pointer), (name, value)] | [(name, value), ("pointer", pointer)] => {
                *conditions += 1;
                if *conditions > Filter::MAX_CONDITIONS {
                    return Err(FilterError::TooMany);
                }
                let (pointer, operator) = (self.below("pointer", pointer).pointer()?, self.operator(name, value)?);
                Ok(Test::Condition(Condition { pointer, operator }))
            }
            _ => Err(self.unknown(&members)),
        }
    }

    /// Which of these fields is one too many.
    fn unknown(&self, members: &[(&str, &RawValue)]) -> FilterError {
        let is_known = |name: &str| matches!(name, "pointer" | "equals" | "in" | "exists" | "any" | "not");
        match members.iter().find(|(name, _)| !is_known(name)) {
            Some((unknown, _)) => self.wrong(format_args!("there is no field {:?}: {ALLOWED}", shown(unknown))),
            None => self.wrong(format_args!("these fields do not go together: {ALLOWED}")),
        }
    }

    fn pointer(&self) -> Result<Pointer, FilterError> {
        let text: Option<String> = serde_json::from_str(self.json.get()).ok();
        text.and_then(|text| Pointer::parse(&text)).ok_or_else(|| {
            let found = shown(self.json.get());
            self.wrong(format_args!("{found} is no JSON pointer: \"/data/message/kind\", with ~1 for / and ~0 for ~"))
        })
    }

    fn operator(&'p self, name: &'p str, json: &'p RawValue) -> Result<Operator, FilterError> {
        let part = self.below(name, json);
        match name {
            "equals" => part.scalar().map(Operator::Equals),
            "in" => part.scalars().map(Operator::In),
            "exists" => part.exists().map(Operator::Exists),
            _ => Err(self.unknown(&[(name, json)])),
        }
    }

    fn scalars(&self) -> Result<Vec<Scalar>, FilterError> {
        let read = |(index, json): (usize, &RawValue)| self.below(&index.to_string(), json).scalar();
        self.elements()?.into_iter().enumerate().map(read).collect()
    }

    fn exists(&self) -> Result<bool, FilterError> {
        let exists = serde_json::from_str(self.json.get());
        exists.map_err(|_| self.wrong(format_args!("{} is neither true nor false", shown(self.json.get()))))
    }

    fn scalar(&self) -> Result<Scalar, FilterError> {
        let json = self.json.get();
        let scalar = match json {
            "null" => Some(Scalar::Null),
            "true" => Some(Scalar::Bool(true)),
            "false" => Some(Scalar::Bool(false)),
            _ if json.starts_with('"') => serde_json::from_str(json).ok().map(Scalar::Text),
            _ => Number::of(self.json).map(Scalar::Number),
        };
        scalar.ok_or_else(|| self.wrong(format_args!("{} is no text, number, true, false or null", shown(json))))
    }
}

fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}
