//! The claim's scripts, called by their hash in a pipeline that loads them first: no second round trip, and one key a
//! call, so that a cluster can split the pipeline by slot.

use std::sync::LazyLock;

use redis::Pipeline;

pub(super) static TAKE_OVER: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("../../lua/take_over.lua")));
pub(super) static RENEW: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("../../lua/renew.lua")));
pub(super) static RELEASE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("../../lua/release.lua")));
pub(super) static FINISH: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("../../lua/finish.lua")));

/// The script, and what Redis knows it by.
pub(super) struct Lua {
    text: &'static str,
    hash: String,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A pipeline in which the script is known.
    pub(super) fn loaded(&self) -> Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SCRIPT").arg("LOAD").arg(self.text).ignore();
        pipeline
    }

    /// Adds one call, to which the arguments are to be added.
    pub(super) fn call<'a>(&self, pipeline: &'a mut Pipeline, key: String) -> &'a mut Pipeline {
        pipeline.cmd("EVALSHA").arg(&self.hash).arg(1).arg(key)
    }
}
