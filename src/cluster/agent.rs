//! Which part of graylane asks, as its `User-Agent`: an audit log of the API server tells them apart by it, and whoever
//! writes without naming a field manager is known to the server by its first word (`graylane`).

use http::HeaderValue;

/// A part of graylane that has a client of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// The screen.
    Cockpit,
    /// What reconciles releases and lanes.
    Engine,
    /// One command.
    Cli,
}

impl Agent {
    /// As in `graylane/0.1.0 (engine)`.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cockpit => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (cockpit)"),
            Self::Engine => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (engine)"),
            Self::Cli => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (cli)"),
        })
    }
}
