//! Something to read: logs, YAML, events, help, a chain, a probe's result.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    domain::{chain::Chain, world::Key},
    ui::{
        effect::{Fault, Object, Probed, Ticket},
        theme::Role,
        widget::Rich,
    },
};

/// So many lines are kept.
const MOST: usize = 10_000;

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The keys; worked out when drawn.
    Help,
    /// What was reported; worked out when drawn.
    Notices,
    /// A container's log.
    Logs(LogOf),
    /// An object as YAML.
    Yaml(Object),
    /// A task of a release; worked out when drawn.
    Task(String, String),
    /// An App against this template; worked out when drawn.
    Template(String, String),
    /// The values of an App's environment; worked out when drawn.
    Variables(String, String),
    /// A chain; worked out when drawn.
    Chain(Arc<Chain>),
    /// Events of these objects and of what they made; worked out when drawn.
    Events(Vec<Key>),
    /// Probes sent together: label and what came of it, none while under way; worked out when drawn.
    Probe(u64, Vec<(String, Came)>),
}

/// Whose log, and which run of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOf {
    /// The pod.
    pub pod: Key,
    /// Its containers.
    pub containers: Vec<String>,
    /// The one that is read.
    pub at: usize,
    /// The run before the last restart.
    pub previous: bool,
}

impl LogOf {
    /// The container's name; none is known when the pod tells none.
    pub fn container(&self) -> Option<&String> {
        self.containers.get(self.at)
    }

    pub(crate) fn title(&self) -> String {
        let mut title = format!("Logs of {}", self.pod.name);
        if let (Some(container), true) = (self.container(), self.containers.len() > 1) {
            title += &format!(
                ", {container} ({} of {})",
                self.at + 1,
                self.containers.len()
            );
        }
        if self.previous {
            title + ", the run before"
        } else {
            title
        }
    }
}

/// What came of a probe; none while it is under way.
pub type Came = Option<Result<Vec<Probed>, Fault>>;

/// A text on the screen.
#[derive(Clone, Debug)]
pub struct Text {
    /// Over it.
    pub title: String,
    /// Where it comes from.
    pub source: Source,
    /// Who answers.
    pub ticket: Option<Ticket>,
    /// More is to come before it is whole.
    pub loading: bool,
    /// The first line shown, unless following.
    pub top: usize,
    /// The newest line stays in sight.
    pub follow: bool,
    /// Only lines that pass.
    pub filter: String,
    /// Lines that were dropped at the front.
    pub dropped: usize,
    pub(crate) lines: VecDeque<Rich>,
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
            dropped: 0,
            lines: VecDeque::new(),
        }
    }

    /// More lines, at the end; the oldest go when there are too many.
    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = Rich>) {
        self.lines.extend(lines);
        let over = self.lines.len().saturating_sub(MOST);
        self.lines.drain(..over);
        self.dropped += over;
        self.top = self.top.saturating_sub(over);
    }

    /// The first line to draw in that height.
    pub(crate) fn first(&self, lines: usize, height: usize) -> usize {
        let last = lines.saturating_sub(height);
        if self.follow {
            last
        } else {
            self.top.min(last)
        }
    }

    /// Scrolls; `lines` there are, `height` are seen.
    pub(crate) fn scroll(&mut self, by: isize, lines: usize, height: usize) {
        let last = lines.saturating_sub(height);
        let from = self.first(lines, height);
        self.top = from.saturating_add_signed(by).min(last);
        self.follow = matches!(self.source, Source::Logs(_)) && self.top >= last && by > 0
            || self.follow && by > 0;
    }
}

/// A line of YAML with its key and value told apart.
pub(crate) fn yaml_line(line: &str) -> Rich {
    let start = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(start);
    let (dash, rest) = rest.strip_prefix("- ").map_or(("", rest), |r| ("- ", r));
    let rich = Rich::of(Role::Text, indent).add(Role::Muted, dash);
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
