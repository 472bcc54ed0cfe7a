//! Output: tables for people, JSON and YAML for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use color_eyre::eyre::{Report, Result};
use serde::Serialize;
use serde_json::json;

use crate::domain::text::{self, Clean};

pub(super) use crate::domain::table::Table;

/// Output format (`-o`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// Writes to stdout. Control sequences and invisible characters are removed for a terminal, as
/// objects may contain them; a program gets the text unchanged.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let clean = out.is_terminal().then(|| Clean::lines_from(text));
    let text = clean.as_deref().unwrap_or(text);
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') && !text.is_empty() {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Prints a message on stderr. Errors are ignored: a server continues when nobody reads its
/// messages.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", Clean::lines_from(text));
}

/// A value as YAML or, for any other format, JSON. Other formats are up to the caller.
pub(super) fn format_value(value: &impl Serialize, format: Format) -> Result<String> {
    let value = serde_json::to_value(value)?;
    Ok(match format {
        Format::Yaml => kube_yaml::to_yaml(&value),
        _ => serde_json::to_string_pretty(&value)? + "\n",
    })
}

/// Objects as a `List`, as kubectl writes them.
pub(super) fn format_list(items: &[impl Serialize], format: Format) -> Result<String> {
    format_value(
        &json!({"apiVersion": "v1", "kind": "List", "items": items}),
        format,
    )
}

/// Whether the error is a broken pipe: the reader of our output has gone.
pub(super) fn is_broken_pipe(report: &Report) -> bool {
    report.chain().any(|e| {
        e.downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The time since `then`; empty if unknown.
pub(super) fn format_age(then: Option<jiff::Timestamp>, now: jiff::Timestamp) -> String {
    then.map(|then| text::format_age(now, then))
        .unwrap_or_default()
}
