//! graylane's own log: files in `DIR/logs`, a new one each day, five kept. Never writes to stdout
//! or the terminal.

use std::path::Path;

use color_eyre::eyre::{Result, WrapErr, eyre};
use tracing_appender::{
    non_blocking::{NonBlockingBuilder, WorkerGuard},
    rolling::{Builder, Rotation},
};
use tracing_subscriber::EnvFilter;

/// Lines that may wait for the disk; further lines are dropped.
const MAX_BUFFERED_LINES: usize = 4096;

/// Logs until the guard is dropped. `GRAYLANE_LOG` sets the filter, in the syntax of `RUST_LOG`.
pub(super) fn start(state: &Path) -> Result<WorkerGuard> {
    let dir = state.join("logs");
    std::fs::create_dir_all(&dir).wrap_err_with(|| dir.display().to_string())?;
    let builder = Builder::new()
        .rotation(Rotation::DAILY)
        .max_log_files(5)
        .filename_prefix("graylane")
        .filename_suffix("log");
    let files = builder.build(&dir).map_err(|e| {
        // The error repeats its cause, so a chain would print it twice.
        let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        eyre!("{}: {why}; name another folder with --state", dir.display())
    })?;
    // The buffer is allocated at once; the default is 128,000 lines.
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_BUFFERED_LINES)
        .finish(files);
    let filter = EnvFilter::try_from_env("GRAYLANE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .try_init();
    if let Err(why) = started {
        // Happens only in tests: a process has one logger.
        tracing::debug!(%why, "logging goes on as it was");
    }
    Ok(guard)
}
