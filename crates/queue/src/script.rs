//! The scripts of `lua/`, loaded into Redis when it does not know them; and the one of `deploy/redis/`, which others call too.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("../lua/", $file))));)*
    };
}

scripts! {
    ENQUEUE = "../../../deploy/redis/enqueue.v1.lua";
    FETCH = "fetch.lua";
    SETTLE = "settle.lua";
    DEFER = "defer.lua";
    DEFER_REST = "defer_rest.lua";
    START_ALONE = "start_alone.lua";
    TAKE_APART = "take_apart.lua";
    BEAT = "beat.lua";
    RECOVER = "recover.lua";
    HAND_BACK = "hand_back.lua";
    LEAVE = "leave.lua";
    PUT_BACK = "put_back.lua";
    DEPTH = "depth.lua";
    PENDING = "pending.lua";
    LAST_NUMBERS = "last_numbers.lua";
    REMIND = "remind.lua";
    PUBLISH_SOURCES = "publish_sources.lua";
    TAKE = "take.lua";
    RENEW = "renew.lua";
    RELEASE = "release.lua";
    FINISH = "finish.lua";
}
