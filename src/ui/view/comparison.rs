//! Draws a comparison of base and gray: what is asked, then the report that the command prints, too.

use crate::{
    api::ProbeSpec,
    domain::{
        command_line::CommandLine,
        diff::{ReportLine, ReportLineKind, split_list},
        lanes::ChainRequests,
    },
    ui::{
        keymap::{Action, KeyContext},
        model::{AnswerComparison, Model, Text},
        theme::Role,
        widget::RichText,
    },
};

/// Width of the names of both sides.
const SIDE_WIDTH: usize = 6;

pub(super) fn comparison_lines(
    model: &Model,
    shown: &AnswerComparison,
    text: &Text,
) -> Vec<RichText> {
    let (asked, report) = (&shown.asked, &shown.report);
    let requests = &asked.pair.requests;
    let mut lines = request_lines("base", &requests.base);
    lines.extend(request_lines("gray", &requests.gray));
    lines.push(RichText::new());
    if text.loading {
        let sign = model.options.glyphs.spinner_frame(model.beat);
        let words = format!("{sign} asking gray and base");
        lines.push(RichText::styled(Role::Busy, words));
        return lines;
    }
    lines.extend(report.iter().map(report_line));
    lines.extend(text.lines.iter().cloned());
    if asked.from_base && !report.is_empty() {
        lines.extend(command_lines(model, asked));
    }
    lines
}

/// The command that compares the same, and can leave out more.
fn command_lines(model: &Model, asked: &ChainRequests) -> Vec<RichText> {
    let width = usize::from(model.size.0).saturating_sub(6);
    let mut command = CommandLine::graylane("probe")
        .arg(&asked.pair.requests.base.path)
        .fixed_args("--diff")
        .option("--group", &asked.group)
        .option("--lane", &asked.pair.lane);
    for entry in split_list(&model.ignored) {
        command = command.option("--ignore", entry);
    }
    let mut lines = vec![RichText::new()];
    if !model.ignored.is_empty() {
        let words = format!("  {}", model.ignored);
        lines.push(RichText::styled(Role::Accent, "Left out").add(Role::Text, words));
    }
    let key = model.key_for(KeyContext::Text, Action::LeaveOut);
    let head = format!("The same without this screen ({key} leaves out what may differ)");
    lines.push(RichText::styled(Role::Accent, head));
    let command = model.place_command(command);
    let parts = command.wrap_lines(width).into_iter();
    lines.extend(parts.map(|part| RichText::styled(Role::Muted, format!("  {part}"))));
    lines
}

/// One request: what it asks for, and what the lane looks at in its headers.
fn request_lines(side: &str, spec: &ProbeSpec) -> Vec<RichText> {
    let head = RichText::new()
        .add_column(Role::Muted, side, SIDE_WIDTH)
        .add(Role::Text, format!("GET {}", spec.path));
    let header = |(name, value): (&String, &String)| {
        RichText::new()
            .pad_to(SIDE_WIDTH)
            .add(Role::Accent, format!("{name}: {value}"))
    };
    std::iter::once(head)
        .chain(spec.headers.iter().map(header))
        .collect()
}

fn report_line(line: &ReportLine) -> RichText {
    let role = match line.kind {
        ReportLineKind::Head | ReportLineKind::Rest | ReportLineKind::Blank => Role::Muted,
        ReportLineKind::Equal => Role::Ok,
        ReportLineKind::Different => Role::Warn,
        ReportLineKind::Answer | ReportLineKind::Difference => Role::Text,
    };
    RichText::styled(role, &line.text)
}
