//! What a part of a body is called.

use std::{borrow::Cow, fmt, rc::Rc};

use super::Node;

/// Characters of a name that a path shows.
pub(super) const MAX_NAME: usize = 64;

/// What a part is called: `entry[0].changes[1]`. Only a fault is ever told its path, so the way is looked up, and becomes a
/// text, only there.
#[derive(Clone, Default)]
pub(crate) enum Path<'t> {
    #[default]
    Body,
    Part(Node<'t>),
    Member(Rc<Self>, &'t str),
}

/// What a part is called in what it lies in.
pub(super) enum Step<'t> {
    Member(Cow<'t, str>),
    Element(usize),
}

impl<'t> Path<'t> {
    /// A member of the object that this is the path of.
    pub(crate) fn join<'n>(&self, name: &'n str) -> Path<'n>
    where
        't: 'n,
    {
        Path::Member(Rc::new(self.clone()), name)
    }

    /// The path of what it lies in, and the last step; nothing for the body.
    fn split(&self) -> Option<(Self, Step<'t>)> {
        match self {
            Self::Body => None,
            Self::Part(node) => node.above().map(|(above, step)| (Self::Part(above), step)),
            Self::Member(above, name) => Some((Self::clone(above), Step::Member((*name).into()))),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((above, step)) = self.split() else { return f.write_str("the body") };
        let is_below = above.split().is_some();
        if is_below {
            above.fmt(f)?;
        }
        match step {
            Step::Element(index) => write!(f, "[{index}]"),
            Step::Member(name) => write!(f, "{}{}", if is_below { "." } else { "" }, shown(&name)),
        }
    }
}

/// Every element below carries the name in its path, so nobody's name may make it long.
fn shown(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(end, _)| end);
    &name[..end]
}
