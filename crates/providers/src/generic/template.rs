//! What is signed, as a text with places in it: `v0:{timestamp}:{body}`.
//!
//! One signature must be that of one request. So where each place begins and ends must follow from what is signed, or else
//! bytes could be moved from one to its neighbour: from a body to an id, which is then another key. The rule: all that stands
//! before the body can be read from the front, and all that stands behind it from the back.
//!
//! * Texts and the URL are known.
//! * A time is known by its form: the ten digits of one that is fresh (`signature::fresh`), or thirteen of milliseconds, or a
//!   date and time of RFC 3339, which goes from four digits and a hyphen to a `Z` or an offset.
//! * An id has no form. Before the body it ends where the text behind it comes for the first time, or the date; behind the body
//!   it begins where the text before it comes for the last time. An id that holds such a text itself is refused. Digits end no
//!   id: ids have digits, too.

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
    /// Reads one, whose time is a date or a number.
    ///
    /// # Errors
    /// Says what stands in braces and is no place, and which place has no end that could be found again.
    pub(super) fn read(text: &'s str, has_date: bool) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or("signed has a { without its }")?;
            parts.extend((!before.is_empty()).then_some(Part::Text(before)));
            parts.push(place(name)?);
            rest = after;
        }
        parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
        let template = Self(parts);
        template.must_have_borders(has_date).map(|()| template)
    }

    fn must_have_borders(&self, has_date: bool) -> Result<(), String> {
        if self.0.iter().filter(|part| **part == Part::Body).count() > 1 {
            return Err("signed must hold {body} once: else one could end where the other begins".into());
        }
        let is_known = |part: Part<'_>| matches!(part, Part::Text(_) | Part::Url);
        let ends = |part| is_known(part) || has_date && part == Part::Timestamp;
        if self.ids().any(|border| matches!(border, Border::Behind(part) if !ends(part))) {
            return Err(
                "signed must have a text behind {id}, as in {id}.{body}, or a {timestamp} of timestamp_form rfc3339: \
                        else bytes could be moved from it to what follows"
                    .into(),
            );
        }
        if self.ids().any(|border| matches!(border, Border::Before(part) if !is_known(part))) {
            return Err("signed must have a text before an {id} that stands behind {body}, as in {body}.{id}: \
                        else bytes could be moved from the body to it"
                .into());
        }
        Ok(())
    }

    /// For each id, what its border on the side of the body is known by.
    fn ids(&self) -> impl Iterator<Item = Border<'s>> {
        let body = self.0.iter().position(|part| *part == Part::Body).unwrap_or(self.0.len());
        self.0.windows(2).enumerate().filter_map(move |(place, pair)| match *pair {
            [Part::Id, behind] if place < body => Some(Border::Behind(behind)),
            [before, Part::Id] if place >= body => Some(Border::Before(before)),
            _ => None,
        })
    }

    /// Whether it has this place.
    pub(super) fn has(&self, part: Part<'_>) -> bool {
        self.0.contains(&part)
    }

    /// The pieces of what is signed. `None` where an id could end, or begin, in two places: then one signature would be that of
    /// two requests.
    pub(super) fn fill<'r>(&self, filling: &Filling<'r>) -> Option<Vec<&'r [u8]>>
    where
        's: 'r,
    {
        let fill = |part: &Part<'s>| if *part == Part::Body { filling.body } else { filling.text(*part).as_bytes() };
        self.ids().all(|border| border.is_found_again(filling)).then(|| self.0.iter().map(fill).collect())
    }
}

/// What an id's border is known by.
#[derive(Clone, Copy)]
enum Border<'s> {
    /// What stands behind an id before the body.
    Behind(Part<'s>),
    /// What stands before an id behind the body.
    Before(Part<'s>),
}

impl Border<'_> {
    fn is_found_again(self, filling: &Filling<'_>) -> bool {
        let id = filling.id;
        match self {
            Self::Behind(Part::Timestamp) => first_date(&[id, filling.timestamp].concat()) == Some(id.len()),
            Self::Behind(part) => [id, filling.text(part)].concat().find(filling.text(part)) == Some(id.len()),
            Self::Before(part) => [filling.text(part), id].concat().rfind(filling.text(part)) == Some(0),
        }
    }
}

impl<'r> Filling<'r> {
    /// What stands for a piece that is no body.
    fn text<'t: 'r>(&self, part: Part<'t>) -> &'r str {
        match part {
            Part::Text(text) => text,
            Part::Timestamp => self.timestamp,
            Part::Id => self.id,
            Part::Url => self.url,
            Part::Body => "",
        }
    }
}

/// Where a text first has what each date begins with: `2019-11-16`.
fn first_date(text: &str) -> Option<usize> {
    let is_date = |window: &[u8]| {
        window.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    text.as_bytes().windows("2019-11-16".len()).position(is_date)
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
