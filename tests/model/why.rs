//! `docs/why.md` shows what the checker finds. It is compared here, so that it cannot go stale: a test that fails prints what
//! to paste into the page.

/// The page.
const PAGE: &str = include_str!("../../docs/why.md");

/// Its fenced blocks of text, as they are between the fences.
fn blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("text\n"))
}

/// The page has this block, and nothing else in it.
pub(crate) fn shows(block: &str) {
    assert!(blocks().any(|its| its == block), "docs/why.md does not show this, in a block of its own:\n\n{block}");
}

/// The page has this line in a block.
pub(crate) fn says(line: &str) {
    let mut lines = blocks().flat_map(str::lines);
    assert!(lines.any(|its| its == line), "docs/why.md does not say this, in a block:\n\n{line}\n");
}
