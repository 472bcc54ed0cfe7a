//! graylane's own log. `demo` and `pocket serve` write to files in `DIR/logs`, `engine` to stderr,
//! and every other command only to the file that `--log` names. Nothing is ever logged to stdout or
//! to the terminal of the cockpit. Commands that run for long also export their spans over OTLP,
//! where the build can and the environment names an endpoint.

mod spans;

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, WrapErr, eyre};
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, ParseError},
    fmt::{MakeWriter, format::FmtSpan, writer::BoxMakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use spans::Spans;

/// Lines that may wait for the disk; further lines are dropped.
const MAX_BUFFERED_LINES: usize = 4096;
/// The filter unless the user sets one: what others log of their connections is noise, as is a
/// warning for each client of a server that is not verified, which the kubeconfig asks for.
const DEFAULT_FILTER: &str = "info,kube=warn,kube_client::client::tls=error,hyper=warn";
/// The environment variable with a filter, in the syntax of `RUST_LOG`.
const FILTER_VARIABLE: &str = "GRAYLANE_LOG";

/// What is logged, where, and how.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Logging options")]
pub struct LogOptions {
    /// Append the program's own log to this file [default: stderr of engine, logs/ in the state
    /// folder of demo and pocket, else nowhere]
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter like graylane::engine=debug,kube=warn
    /// [default: $GRAYLANE_LOG, else info]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = parse_filter)]
    log_level: Option<String>,
    /// How the log is written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// One line for people, or one JSON object a line for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Where a command logs unless `--log` names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogTarget<'a> {
    /// Nowhere: the command is short, and stderr belongs to its messages.
    Off,
    /// Nowhere: the screen and stderr belong to the cockpit.
    Screen,
    /// What a container prints is its log.
    Stderr,
    /// Daily files in `logs` under this folder, five kept.
    #[cfg_attr(
        not(feature = "pocket"),
        expect(dead_code, reason = "only these commands do")
    )]
    Folder(&'a Path),
}

impl LogTarget<'_> {
    /// Whether the command runs for long, so that its spans are worth a connection.
    const fn exports_spans(self) -> bool {
        !matches!(self, Self::Off)
    }
}

/// Keeps the log going. Dropping it exports the last spans and writes what still waits.
#[derive(Debug)]
pub(super) struct LogGuard {
    // Dropped first: what hinders the last spans is still logged.
    _spans: Spans,
    _lines: Option<WorkerGuard>,
}

/// Logs, and exports spans, until the guard is dropped.
pub(super) fn start_logging(options: &LogOptions, target: LogTarget<'_>) -> Result<LogGuard> {
    let (writer, lines) = open_log(options, target)?;
    let spans = if target.exports_spans() {
        Spans::start()
    } else {
        Spans::default()
    };
    let exported = spans.layer();
    if writer.is_some() || exported.is_some() {
        install_subscriber(options, writer, exported)?;
    }
    spans.log_warnings();
    Ok(LogGuard {
        _spans: spans,
        _lines: lines,
    })
}

/// Where lines are written, if anywhere.
fn open_log(
    options: &LogOptions,
    target: LogTarget<'_>,
) -> Result<(Option<BoxMakeWriter>, Option<WorkerGuard>)> {
    let (writer, guard) = match (&options.log, target) {
        (Some(file), _) => buffered_writer(open_log_file(file)?),
        (None, LogTarget::Off | LogTarget::Screen) => return Ok((None, None)),
        (None, LogTarget::Stderr) => {
            return Ok((Some(BoxMakeWriter::new(std::io::stderr)), None));
        }
        (None, LogTarget::Folder(dir)) => buffered_writer(open_daily_files(&dir.join("logs"))?),
    };
    Ok((Some(BoxMakeWriter::new(writer)), Some(guard)))
}

fn open_log_file(file: &Path) -> Result<std::fs::File> {
    let mut open = OpenOptions::new();
    let opened = open.create(true).append(true).open(file);
    opened.wrap_err_with(|| format!("--log {}", file.display()))
}

fn open_daily_files(dir: &Path) -> Result<tracing_appender::rolling::RollingFileAppender> {
    std::fs::create_dir_all(dir).wrap_err_with(|| dir.display().to_string())?;
    let builder = Builder::new()
        .rotation(Rotation::DAILY)
        .max_log_files(5)
        .filename_prefix("graylane")
        .filename_suffix("log");
    builder.build(dir).map_err(|e| {
        // The error repeats its cause, so a chain would print it twice.
        let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        eyre!("{}: {why}; name another folder with --state", dir.display())
    })
}

fn buffered_writer(to: impl std::io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    // The buffer is allocated at once; the default is 128,000 lines.
    NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_BUFFERED_LINES)
        .finish(to)
}

/// Each layer has its own filter: the log's does not decide which spans are exported.
fn install_subscriber(
    options: &LogOptions,
    writer: Option<BoxMakeWriter>,
    exported: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) -> Result<()> {
    let mut filter = build_filter(options.log_level.as_deref())?;
    let is_detailed = filter
        .max_level_hint()
        .is_some_and(|level| level >= LevelFilter::DEBUG);
    if exported.is_some() {
        filter = spans::quiet_exporter(filter);
    }
    let log = writer
        .map(|writer| format_layer(options.log_format, is_detailed, writer).with_filter(filter));
    let started = tracing_subscriber::registry()
        .with(exported)
        .with(log)
        .try_init();
    if let Err(why) = started {
        // Happens only in tests: a process has one logger.
        tracing::debug!(%why, "logging goes on as it was");
    }
    Ok(())
}

/// The option, else the environment variable, else the default. A variable that cannot be parsed is
/// an error: logging less than was asked for would go unnoticed.
fn build_filter(option: Option<&str>) -> Result<EnvFilter> {
    let variable = std::env::var(FILTER_VARIABLE).ok();
    match (option, variable.as_deref()) {
        (Some(level), _) => Ok(EnvFilter::new(with_quiet_libraries(level))),
        (None, Some(filter)) => EnvFilter::try_new(filter).wrap_err(FILTER_VARIABLE),
        (None, None) => Ok(EnvFilter::new(DEFAULT_FILTER)),
    }
}

/// A single level is graylane's own; libraries stay at what the default shows of them.
fn with_quiet_libraries(level: &str) -> String {
    if level.parse::<tracing::Level>().is_ok() {
        format!("warn,kube_client::client::tls=error,graylane={level}")
    } else {
        level.to_owned()
    }
}

/// What is to be logged cannot be read.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    /// A word is no directive.
    #[error("'{0}' is neither a level (error, warn, info, debug, trace, off), nor TARGET=LEVEL")]
    Word(String),
    /// A directive is wrong.
    #[error("{0}")]
    Directive(ParseError),
}

fn parse_filter(text: &str) -> Result<String, FilterError> {
    let mut directives = text.split(',').map(str::trim);
    // To the parser a word alone is a target, so `loud` would silently log nothing.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let unknown =
        directives.find(|word| word.is_empty() || !word.contains(['=', '[']) && !is_level(word));
    if let Some(word) = unknown {
        return Err(FilterError::Word(word.to_owned()));
    }
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(FilterError::Directive)
}

/// How lines are written; `times_spans` adds one for each span that ends, with its duration.
fn format_layer<S, W>(
    format: LogFormat,
    times_spans: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_span_events(if times_spans {
            FmtSpan::CLOSE
        } else {
            FmtSpan::NONE
        })
        .with_writer(writer);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of one event within one span.
    fn logged(format: LogFormat, level: &str) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new(with_quiet_libraries(level)))
            .with(format_layer(format, level == "debug", move || {
                writer.clone()
            }));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("reconcile_release", release = "a-1").in_scope(|| {
                tracing::info!(steps = 2, "patched\u{1b}[31m");
                tracing::debug!("not at info");
            });
            tracing::info!(target: "hyper", "not ours");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_says_in_which_span_it_was_written_and_how_long_that_took() {
        let text = logged(LogFormat::Text, "info");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].contains(r#"reconcile_release{release="a-1"}"#),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "escapes are foreign text");
        let text = logged(LogFormat::Text, "debug");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].contains("close time.busy="), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_of_its_spans() {
        let text = logged(LogFormat::Json, "info");
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["steps"], 2);
        assert_eq!(lines[0]["span"]["name"], "reconcile_release");
        assert_eq!(lines[0]["span"]["release"], "a-1");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_a_usage_error() {
        assert!(parse_filter("debug").is_ok() && parse_filter("graylane::engine=trace").is_ok());
        for wrong in ["", "loud", "graylane=loud", "info,", "debug,loud"] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }
}
