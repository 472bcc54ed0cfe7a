//! The whole stage of the design's story on a simulated cluster, in order and in any interleaving.

/// Foreign changes to a workload, each with a name.
macro_rules! hands {
    ($($hand:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Hand {
            $($hand),*
        }

        use Hand::*;

        const ALL: &[Hand] = &[$($hand),*];
    };
}

mod any_order;
mod cluster;
mod extremes;
mod forecast;
mod frozen;
mod hands;
mod ownership;
mod stateful_hands;
mod story;
mod variables;
mod wishes;
