//! The signals that end a command which runs for long.

use color_eyre::eyre::Result;
use tokio::signal::unix::{SignalKind, signal};

/// A future that completes on SIGTERM or SIGINT.
pub(super) fn shutdown_signal() -> Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
