//! What a part of a body is called.

use std::{borrow::Cow, fmt, rc::Rc};

/// Characters of a name that a path shows.
const MAX_NAME: usize = 64;

/// What a part is called: `entry[0].changes[1]`. Only a fault is ever told its path, so it becomes a text only there.
#[derive(Clone, Default)]
pub(crate) struct Path<'t> {
    above: Option<Rc<Self>>,
    step: Step<'t>,
}

#[derive(Clone, Default)]
enum Step<'t> {
    #[default]
    Body,
    Member(Cow<'t, str>),
    Element(usize),
}

impl<'t> Path<'t> {
    /// A member of the object at `above`.
    pub(super) fn member(above: &Rc<Self>, name: impl Into<Cow<'t, str>>) -> Self {
        Self { above: Some(Rc::clone(above)), step: Step::Member(name.into()) }
    }

    /// An element of the array at `above`.
    pub(super) fn element(above: &Rc<Self>, index: usize) -> Self {
        Self { above: Some(Rc::clone(above)), step: Step::Element(index) }
    }

    /// A member of the object that this is the path of.
    pub(crate) fn join<'n>(&self, name: &'n str) -> Path<'n>
    where
        't: 'n,
    {
        Path::member(&Rc::new(self.clone()), name)
    }

    fn is_body(&self) -> bool {
        matches!(self.step, Step::Body)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = self.above.as_deref().filter(|above| !above.is_body());
        if let Some(above) = above {
            above.fmt(f)?;
        }
        match &self.step {
            Step::Body => f.write_str("the body"),
            Step::Element(index) => write!(f, "[{index}]"),
            Step::Member(name) => {
                let dot = if above.is_some() { "." } else { "" };
                write!(f, "{dot}{}", shown(name))
            }
        }
    }
}

/// Every element below carries the name in its path, so nobody's name may make it long.
fn shown(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(end, _)| end);
    &name[..end]
}
