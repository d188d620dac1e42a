//! What should be rare.

use vocabulary::Counter;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often something happened that should be rare.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counts! {
    /// Handlers that panicked; their jobs were deferred.
    panicked,
    /// Ids in the list that were no jobs: without bytes, or listed twice.
    dropped,
    /// Jobs of dead workers that were made ready again.
    recovered,
    /// Jobs that this process held and nobody worked on: a fetch whose answer was lost, a handler that settled nothing.
    stranded,
    /// Jobs found in apalis's dead set, and made ready again. Each is a bug.
    put_back,
    /// Times that a worker of this process was taken for dead while it lived (it was paused, or cut off from Redis).
    taken_for_dead,
}
