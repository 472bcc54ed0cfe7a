//! Which part of graylane sends a request, as its `User-Agent`. Audit logs of the API server show
//! it, and the server takes its first word (`graylane`) as the field manager of writes that name
//! none.

use http::HeaderValue;

/// A part of graylane that has its own client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// The terminal UI.
    Cockpit,
    /// The engine, which reconciles releases and lanes.
    Engine,
    /// A single command.
    Cli,
}

impl Agent {
    /// For example `graylane/0.1.0 (engine)`.
    #[must_use]
    pub fn to_header_value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cockpit => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (cockpit)"),
            Self::Engine => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (engine)"),
            Self::Cli => concat!("graylane/", env!("CARGO_PKG_VERSION"), " (cli)"),
        })
    }
}
