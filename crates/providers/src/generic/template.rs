//! What is signed, as a text with places in it: `v0:{timestamp}:{body}`.

/// A template that has been read.
pub(super) struct Template<'s>(Vec<Part<'s>>);

/// A piece of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'s> {
    /// As it stands.
    Text(&'s str),
    /// The body, byte for byte.
    Body,
    /// The signed time, as it was sent.
    Timestamp,
    /// The value of `id_header`.
    Id,
    /// The setting `url`.
    Url,
}

/// What the places are filled with.
pub(super) struct Filling<'r> {
    pub body: &'r [u8],
    pub timestamp: &'r str,
    pub id: &'r str,
    pub url: &'r str,
}

impl<'s> Template<'s> {
    /// Reads one.
    ///
    /// # Errors
    /// Says what stands in braces and is no place, and which place has no end that could be found again.
    pub(super) fn read(text: &'s str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or("signed has a { without its }")?;
            parts.extend((!before.is_empty()).then_some(Part::Text(before)));
            parts.push(place(name)?);
            rest = after;
        }
        parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
        let is_open = |pair: &[Part<'_>]| pair[0] == Part::Id && !matches!(pair[1], Part::Text(_));
        if parts.windows(2).any(is_open) {
            return Err("signed must have a text behind {id}: else bytes could be moved from it to what follows".into());
        }
        Ok(Self(parts))
    }

    /// Whether it has this place.
    pub(super) fn has(&self, part: Part<'_>) -> bool {
        self.0.contains(&part)
    }

    /// The pieces of what is signed. `None` where the id holds the text that is to end it: then it could end in two places,
    /// and one signature would be that of two requests.
    pub(super) fn fill<'r>(&self, filling: &Filling<'r>) -> Option<Vec<&'r [u8]>>
    where
        's: 'r,
    {
        let runs_on = |pair: &[Part<'_>]| matches!(*pair, [Part::Id, Part::Text(end)] if filling.id.contains(end));
        let fill = |part: &Part<'s>| match *part {
            Part::Text(text) => text.as_bytes(),
            Part::Body => filling.body,
            Part::Timestamp => filling.timestamp.as_bytes(),
            Part::Id => filling.id.as_bytes(),
            Part::Url => filling.url.as_bytes(),
        };
        (!self.0.windows(2).any(runs_on)).then(|| self.0.iter().map(fill).collect())
    }
}

fn place(name: &str) -> Result<Part<'static>, String> {
    match name {
        "body" => Ok(Part::Body),
        "timestamp" => Ok(Part::Timestamp),
        "id" => Ok(Part::Id),
        "url" => Ok(Part::Url),
        other => Err(format!("signed has {{{other}}}, which is none of {{body}}, {{timestamp}}, {{id}} and {{url}}")),
    }
}
