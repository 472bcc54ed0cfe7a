//! Output: tables for people, JSON and YAML for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use color_eyre::eyre::{Report, Result};
use serde::Serialize;
use serde_json::json;

use crate::domain::text::{self, Clean};

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
        Format::Yaml => crate::domain::yaml::to_yaml(&value),
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

/// Rows under headers, columns separated by three blanks, as kubectl prints them.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: vec![],
        }
    }

    /// Adds a row. Cells are cleaned; an empty one is shown as `-` so that columns can be split at
    /// blanks.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| Some(Clean::from(cell).into_string()).filter(|c| !c.is_empty());
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| shown(cell).unwrap_or_else(|| "-".into()))
                .collect(),
        );
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|i| {
                self.rows
                    .iter()
                    .filter_map(|r| r.get(i))
                    .map(|c| text::display_width(c))
                    .chain([self.head[i].len()])
                    .max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        let mut out = String::new();
        let head: Vec<String> = self.head.iter().map(ToString::to_string).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - text::display_width(cell) + 3));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// The time since `then`; empty if unknown.
pub(super) fn format_age(then: Option<jiff::Timestamp>, now: jiff::Timestamp) -> String {
    then.map(|then| text::format_age(now, then))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_under_wide_characters() {
        let mut table = Table::new(&["NAME", "WHY"]);
        table.add_row(["灰度".into(), String::new()]);
        table.add_row(["a".into(), "b c".into()]);
        assert_eq!(table.render(), "NAME   WHY\n灰度   -\na      b c\n");
    }

    #[test]
    fn a_cell_is_one_line_whatever_an_object_says() {
        let mut table = Table::new(&["MESSAGE", "BY"]);
        table.add_row([
            "\u{1b}]52;c;aGFja2Vk\u{7}yes\u{202e}\nno".into(),
            "a".into(),
        ]);
        assert_eq!(table.render(), "MESSAGE   BY\nyes⏎no    a\n");
    }
}
