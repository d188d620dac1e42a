//! Two states that differ in nothing but which worker is called A are one. The checker tells states apart by their hash, so
//! this is where it learns it: half the states, and every trace as it was.

use std::hash::{Hash, Hasher};

use super::state::{Claim, Place, Run, State, Token};

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { places, claims, words, holders, workers, orphans, ledger, owed, mishaps_left, done_too_early } =
            self;
        let names = if workers[0] <= workers[1] { [0, 1] } else { [1, 0] };
        places.map(|place| place.renamed(names)).hash(hasher);
        claims.map(|claim| claim.renamed(names)).hash(hasher);
        names.map(|worker| words[worker]).hash(hasher);
        holders.map(|holders| names.map(|worker| holders[worker])).hash(hasher);
        names.map(|worker| &workers[worker]).hash(hasher);
        (orphans, ledger, owed, mishaps_left, done_too_early).hash(hasher);
    }
}

/// The new name of each worker. Of two, a renaming is its own inverse.
type Names = [usize; 2];

impl Place {
    fn renamed(self, names: Names) -> Self {
        if let Self::With(worker) = self { Self::With(names[worker]) } else { self }
    }
}

impl Claim {
    fn renamed(self, names: Names) -> Self {
        if let Self::Held(token) = self { Self::Held(token.renamed(names)) } else { self }
    }
}

impl Token {
    fn renamed(self, names: Names) -> Self {
        if let Run::Of(worker) = self.run { Self { run: Run::Of(names[worker]), ..self } } else { self }
    }
}
