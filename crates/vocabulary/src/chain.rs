//! An error in one line.

use std::{error::Error, iter::successors};

/// What an error says, and what each of its sources says, with colons between: for where one text is all that is kept.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let facts: Vec<_> = links(error).map(ToString::to_string).collect();
    facts.join(": ")
}

/// An error and its sources, the outermost first.
pub fn links<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outbox cannot be read")]
    struct Unread(#[source] io::Error);

    #[test]
    fn an_error_is_told_with_its_sources_the_outermost_first() {
        let error = Unread(io::Error::other("the disk is gone"));

        assert_eq!(chain(&error), "the outbox cannot be read: the disk is gone");
    }
}
