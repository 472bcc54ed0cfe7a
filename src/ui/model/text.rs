//! Text overlays: logs, YAML, events, help, a chain, probe results.

use std::{collections::VecDeque, sync::Arc};

use super::log::{LogBuffer, LogTarget};
use crate::{
    api::ObjectRef,
    domain::{
        chain::Chain,
        describe::{DescribedLine, Tone},
        diff::{AnswerPair, Ignored, ReportLine},
        lanes::ChainRequests,
        log::LogEvent,
        text::display_width,
        world::ObjectKey,
    },
    ui::{
        effect::{Fault, ProbeOutcome, Ticket},
        theme::Role,
        widget::RichText,
    },
};

/// Maximum number of lines that are kept.
const MAX_LINES: usize = 10_000;

/// Source of a text overlay.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Key bindings; computed when drawn.
    Help,
    /// All notices; computed when drawn.
    Notices,
    /// Logs of pods.
    Logs(Box<LogTarget>),
    /// An object as YAML.
    Yaml(ObjectRef),
    /// An object, or all of an environment, described; the first object.
    Described(ObjectRef),
    /// A task of a release, by their names; computed when drawn.
    Task(String, String),
    /// An App compared with its template, by their names; computed when drawn.
    Template(String, String),
    /// What a release changes; computed once.
    Changes,
    /// The values of an App's environment, by their names; computed when drawn.
    Variables(String, String),
    /// A chain; computed when drawn.
    Chain(Arc<Chain>),
    /// Events of these objects and of the objects that they own; computed when drawn.
    Events(Vec<ObjectKey>),
    /// Probes sent together; computed when drawn.
    Probe(ProbeRun),
    /// The traces of probes, in full; computed when drawn.
    ProbeTraces(Vec<ProbeTrace>),
    /// What one of the user's own commands writes.
    Output,
    /// A request sent to the baseline and to gray.
    Comparison(Box<AnswerComparison>),
}

/// Both requests of a chain, and the comparison of the answers once they are there.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerComparison {
    /// Both requests.
    pub asked: Arc<ChainRequests>,
    /// Both answers.
    pub answers: Option<Box<AnswerPair>>,
    /// The comparison as lines; empty without answers.
    pub report: Vec<ReportLine>,
}

impl AnswerComparison {
    /// Both requests, without answers.
    pub const fn new(asked: Arc<ChainRequests>) -> Self {
        Self {
            asked,
            answers: None,
            report: vec![],
        }
    }

    /// Compares the answers, except for what the list names. A list that cannot be read names
    /// nothing.
    pub fn compare_again(&mut self, ignored: &str) {
        let ignored = Ignored::parse_list(ignored).unwrap_or_default();
        let pair = self.answers.as_ref();
        self.report = pair.map_or_else(Vec::new, |pair| pair.report_lines(&ignored));
    }
}

/// Probes that were sent together.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeRun {
    /// Identifies the run, so that its results find it.
    pub id: u64,
    /// Lane group whose entry was asked.
    pub group: String,
    /// Label and result of each.
    pub slots: Vec<(String, ProbeSlot)>,
}

impl ProbeRun {
    /// The traces of the requests that were sent, in their order.
    pub fn traces(&self) -> Vec<ProbeTrace> {
        let probes = self.slots.iter().flat_map(|(label, slot)| {
            let probes = slot.iter().filter_map(|slot| slot.as_ref().ok()).flatten();
            probes.map(move |probe| (label, probe))
        });
        probes
            .filter(|(_, probe)| !probe.trace.is_empty())
            .map(|(label, probe)| ProbeTrace {
                label: label.clone(),
                trace: probe.trace.clone(),
                chains: probe.chains.clone(),
            })
            .collect()
    }
}

/// The trace of one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeTrace {
    /// Label of the probe: `tagged`.
    pub label: String,
    /// Trace id.
    pub trace: String,
    /// Chains as the probe was judged by; shown until the world tells more.
    pub chains: Vec<Chain>,
}

/// Result of a probe; `None` while it is in progress.
pub type ProbeSlot = Option<Result<Vec<ProbeOutcome>, Fault>>;

/// An open text overlay.
#[derive(Clone, Debug)]
pub struct Text {
    /// Title.
    pub title: String,
    /// Source of the lines.
    pub source: Source,
    /// Ticket of the query that supplies the lines.
    pub ticket: Option<Ticket>,
    /// The text is not complete yet.
    pub loading: bool,
    /// Index of the first visible row, unless following.
    pub top: usize,
    /// Keep the newest row visible.
    pub follow: bool,
    /// Show only lines that pass this filter.
    pub filter: String,
    /// The word that was searched; empty when there is none.
    pub search: String,
    /// The line at which the search stands, counted with those that were dropped.
    pub found: Option<usize>,
    /// Long lines go on in the next row.
    pub wrap: bool,
    /// Columns left out on the left, where lines are not wrapped.
    pub left: usize,
    /// Show the time of each line of a log.
    pub timestamps: bool,
    /// Lines of a log.
    pub log: LogBuffer,
    /// Number of lines dropped at the front.
    pub dropped: usize,
    pub(crate) lines: VecDeque<RichText>,
}

impl Text {
    pub(crate) fn new(title: impl Into<String>, source: Source) -> Self {
        Self {
            title: title.into(),
            source,
            ticket: None,
            loading: false,
            top: 0,
            follow: false,
            filter: String::new(),
            search: String::new(),
            found: None,
            wrap: true,
            left: 0,
            timestamps: false,
            log: LogBuffer::default(),
            dropped: 0,
            lines: VecDeque::new(),
        }
    }

    /// Appends lines; drops the oldest ones when there are too many.
    pub(crate) fn append_lines(&mut self, lines: impl IntoIterator<Item = RichText>) {
        self.lines.extend(lines);
        let over = self.lines.len().saturating_sub(MAX_LINES);
        self.lines.drain(..over);
        self.dropped += over;
        self.top = self.top.saturating_sub(over);
    }

    /// Appends what has come of logs.
    pub(crate) fn append_log(
        &mut self,
        events: Vec<LogEvent>,
        label: impl Fn(&ObjectKey) -> String,
    ) {
        let over = self.log.append_events(events, label);
        self.dropped += over;
        self.top = self.top.saturating_sub(over);
    }

    /// Index of the first row to draw, of so many at this height.
    pub(crate) fn first_row(&self, rows: usize, height: usize) -> usize {
        let last = rows.saturating_sub(height);
        if self.follow {
            last
        } else {
            self.top.min(last)
        }
    }

    /// Scrolls; `rows` is the total, `height` the visible number of rows.
    pub(crate) fn scroll(&mut self, by: isize, rows: usize, height: usize) {
        let last = rows.saturating_sub(height);
        let from = self.first_row(rows, height);
        self.top = from.saturating_add_signed(by).min(last);
        self.follow = matches!(self.source, Source::Logs(_)) && self.top >= last && by > 0
            || self.follow && by > 0;
    }
}

/// Columns of the label of a described line.
const LABEL_WIDTH: usize = 12;

/// A line of a description: a label and what it says.
pub(crate) fn style_described_line(line: &DescribedLine) -> RichText {
    let indent = "  ".repeat(line.indent);
    let role = match line.tone {
        Tone::Heading => Role::Accent,
        Tone::Plain => Role::Text,
        Tone::Good => Role::Ok,
        Tone::Warn => Role::Warn,
        Tone::Bad => Role::Bad,
    };
    let rich = RichText::styled(Role::Text, indent);
    if line.label.is_empty() {
        return rich.add(role, &*line.text);
    }
    // A label that is longer than its column stays whole.
    let width = LABEL_WIDTH.max(display_width(&line.label));
    rich.add_column(Role::Muted, &*line.label, width)
        .add(Role::Text, " ")
        .add(role, &*line.text)
}

/// A YAML line with separate roles for key and value.
pub(crate) fn style_yaml_line(line: &str) -> RichText {
    let start = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(start);
    let (dash, rest) = rest.strip_prefix("- ").map_or(("", rest), |r| ("- ", r));
    let rich = RichText::styled(Role::Text, indent).add(Role::Muted, dash);
    match rest.split_once(':') {
        Some((key, value)) if !key.contains(' ') || key.starts_with('"') => {
            let role = if value.trim().is_empty() {
                Role::Accent
            } else {
                Role::Muted
            };
            rich.add(role, format!("{key}:")).add(Role::Text, value)
        }
        _ => rich.add(Role::Text, rest),
    }
}
