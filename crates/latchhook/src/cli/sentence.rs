//! What somebody says in a few words, and others read later: why something was done, or what people call a thing.
//!
//! It stands in rows, in tables on terminals and in logs: a line, and no more than a sentence. What a terminal would obey, or
//! Postgres could not keep, is refused where it is typed.

use anyhow::ensure;

/// It may stand in the row of each of many things: a sentence, and not a report.
const LONGEST: usize = 500;

/// Reads why something is done.
pub(super) fn reason(text: &str) -> anyhow::Result<String> {
    line(text, "say why this is done")
}

/// Reads what people call something.
pub(super) fn name(text: &str) -> anyhow::Result<String> {
    line(text, "say what people call it")
}

fn line(text: &str, if_empty: &str) -> anyhow::Result<String> {
    let text = text.trim();
    ensure!(!text.is_empty(), "it is empty: {if_empty}");
    must_be_a_line(text)?;
    Ok(text.to_owned())
}

/// Refuses what is more than a line.
pub(super) fn must_be_a_line(text: &str) -> anyhow::Result<()> {
    ensure!(!text.contains(char::is_control), "write one line, without tabs and other control characters");
    ensure!(text.len() <= LONGEST, "write at most {LONGEST} bytes, not {}: a sentence, and not a report", text.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_that_moves_nothing_on_a_terminal() {
        let refused = |text| [reason(text), name(text)].map(|read| read.unwrap_err().to_string());

        assert_eq!(reason(" их сервер is gone\n").unwrap(), "их сервер is gone");
        for text in ["gone\nfor good", "\u{1b}[2Jgone", "gone\tfor good", "gone\u{9b}2J", "gone\0"] {
            for failure in refused(text) {
                assert!(failure.contains("one line, without tabs and other control characters"), "{text:?}");
            }
        }
    }

    #[test]
    fn a_sentence_is_not_empty_and_no_longer_than_five_hundred_bytes() {
        let long = "x".repeat(LONGEST);

        assert_eq!(reason(&long).unwrap(), long);
        let failure = |text: &str| reason(text).unwrap_err().to_string();
        assert_eq!(failure(&(long + "x")), "write at most 500 bytes, not 501: a sentence, and not a report");
        assert_eq!(failure(" \n"), "it is empty: say why this is done");
    }
}
