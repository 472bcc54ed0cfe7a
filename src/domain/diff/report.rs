//! A comparison as lines for people, the same for the command and the cockpit.

use super::{Comparison, Sides};
use crate::domain::table::Table;

/// Headers of the columns that tell of each answer.
const HEAD: [&str; 6] = ["SIDE", "STATUS", "MS", "LANE", "VERDICT", "CHAIN"];

/// What a line of a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportLineKind {
    /// Headers of columns.
    Head,
    /// One of the two answers.
    Answer,
    /// Nothing differs.
    Equal,
    /// Something differs; the differences follow.
    Different,
    /// One difference.
    Difference,
    /// What the report leaves out.
    Rest,
    /// Nothing: an empty line.
    Blank,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// What it says.
    pub kind: ReportLineKind,
    /// The line, without a newline.
    pub text: String,
}

/// A comparison as lines. `cells` tell of each answer: status, latency in milliseconds, lane,
/// verdict and chain.
pub fn report_lines(cells: Sides<[String; 5]>, found: &Comparison) -> Vec<ReportLine> {
    use ReportLineKind as Kind;
    let line = |kind, text: String| ReportLine { kind, text };
    let mut table = Table::new(&HEAD);
    for (side, cells) in [("base", cells.base), ("gray", cells.gray)] {
        table.add_row(std::iter::once(side.to_owned()).chain(cells));
    }
    let kinds = std::iter::once(Kind::Head).chain(std::iter::repeat(Kind::Answer));
    let mut lines: Vec<ReportLine> = kinds
        .zip(table.lines())
        .map(|(kind, text)| line(kind, text))
        .collect();
    lines.push(line(Kind::Blank, String::new()));
    lines.push(if found.is_equal() {
        line(Kind::Equal, "The answers are equal.".into())
    } else {
        line(Kind::Different, "From base to gray:".into())
    });
    let differences = found.differences.iter();
    lines.extend(differences.map(|d| line(Kind::Difference, format!("  {d}"))));
    if found.left_out > 0 {
        let more = format!("  and {} more", found.left_out);
        lines.push(line(Kind::Rest, more));
    }
    if found.partial {
        let part = "Only the first 64 KiB of each body are compared.";
        lines.push(line(Kind::Rest, part.into()));
    }
    lines
}
