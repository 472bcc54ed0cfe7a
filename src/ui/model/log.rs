//! The lines of an open log: of one pod, or of many in the order of time. Their number and size are
//! bounded.

use std::{
    collections::{VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    domain::{
        log::{LogEvent, LogRange, MAX_LINES},
        pod_selection::PodSelection,
        text::{display_width, truncate_middle},
        world::ObjectKey,
    },
    ui::{
        theme::Role,
        widget::{RichText, sanitize_text},
    },
};

/// Most bytes of text that are kept.
const MAX_BYTES: usize = 8 << 20;
/// Most columns of a pod's label.
const MAX_LABEL: usize = 24;
/// Columns of a line's time.
const TIME_WIDTH: usize = 19;

/// Which logs to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTarget {
    /// Pods whose logs are shown.
    pub selection: PodSelection,
    /// Choices that the same key leads to, in order.
    pub scopes: Vec<PodSelection>,
    /// Names of their containers.
    pub containers: Vec<String>,
    /// Name of the shown container; `None` is each pod's first one.
    pub container: Option<String>,
    /// How far back it is read.
    pub range: LogRange,
    /// Show the run before the last restart.
    pub previous: bool,
}

impl LogTarget {
    pub(crate) fn title(&self) -> String {
        let mut title = format!("Logs of {}", self.selection);
        let at = |name: &String| self.containers.iter().position(|c| c == name);
        if let (Some(container), true) = (&self.container, self.containers.len() > 1)
            && let Some(at) = at(container)
        {
            title += &format!(", {container} ({} of {})", at + 1, self.containers.len());
        }
        if self.previous {
            title += ", the run before";
        }
        title
    }

    /// Goes on to the next container; of many pods also to the first one of each again.
    pub(crate) fn select_next_container(&mut self) {
        let at = self
            .container
            .as_ref()
            .and_then(|name| self.containers.iter().position(|c| c == name));
        let next = at.map_or(0, |at| at + 1);
        self.container = match self.containers.get(next) {
            Some(name) => Some(name.clone()),
            None if self.selection.is_one_pod() => self.containers.first().cloned(),
            None => None,
        };
    }

    /// Goes on to the next choice of pods.
    pub(crate) fn select_next_scope(&mut self) {
        let at = self.scopes.iter().position(|s| *s == self.selection);
        let next = at.map_or(0, |at| (at + 1) % self.scopes.len().max(1));
        if let Some(scope) = self.scopes.get(next) {
            self.selection = scope.clone();
        }
    }
}

/// A pod of which lines are shown.
#[derive(Clone, Debug)]
struct LogPod {
    key: Arc<ObjectKey>,
    label: String,
    role: Role,
}

/// One line, as it is kept.
#[derive(Clone, Debug)]
struct KeptLine {
    pod: usize,
    time: Option<Timestamp>,
    role: Role,
    text: String,
    /// Columns of the text.
    width: usize,
}

/// How the lines of a log are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLook {
    pub(crate) timestamps: bool,
    pub(crate) labels: bool,
}

/// The lines of a log.
#[derive(Clone, Debug, Default)]
pub struct LogBuffer {
    lines: VecDeque<KeptLine>,
    pods: Vec<LogPod>,
    bytes: usize,
    label_width: usize,
    /// Number of chosen pods whose logs are not read.
    pub(crate) left_out: usize,
    /// Number of chosen pods that have no run before their last restart.
    pub(crate) without_run_before: usize,
}

impl LogBuffer {
    /// Adds what has come; returns how many lines were dropped at the front. `label` names a pod
    /// that has not been seen before.
    pub(crate) fn append_events(
        &mut self,
        events: Vec<LogEvent>,
        label: impl Fn(&ObjectKey) -> String,
    ) -> usize {
        let mut sorted = true;
        let mut last = self.lines.back().and_then(|line| line.time);
        for event in events {
            let (pod, time, role, text) = match event {
                LogEvent::Line(line) => {
                    let role = line_role(&line.text);
                    (line.pod, line.time, role, line.text.into_string())
                }
                LogEvent::Came(pod) => (pod, None, Role::Muted, "new pod".into()),
                LogEvent::Gone(pod) => (pod, None, Role::Muted, "this pod is gone".into()),
                LogEvent::Failed(pod, why) => {
                    let words = format!("the log cannot be read: {why}");
                    (pod, None, Role::Bad, words)
                }
                LogEvent::LeftOut(logs) => {
                    self.left_out = logs;
                    continue;
                }
                LogEvent::NoRunBefore(_) => {
                    self.without_run_before += 1;
                    continue;
                }
            };
            let pod = self.find_or_add_pod(pod, &label);
            // What has no time of its own stays where it came.
            let time = time.or(last);
            sorted &= last <= time;
            last = last.max(time);
            self.push_line(pod, time, role, &text);
        }
        if !sorted {
            self.lines.make_contiguous().sort_by_key(|line| line.time);
        }
        self.drop_oldest()
    }

    fn push_line(&mut self, pod: usize, time: Option<Timestamp>, role: Role, text: &str) {
        let text = sanitize_text(text).into_owned();
        self.bytes += text.len();
        self.lines.push_back(KeptLine {
            pod,
            time,
            role,
            width: display_width(&text),
            text,
        });
    }

    fn drop_oldest(&mut self) -> usize {
        let mut dropped = 0;
        while self.lines.len() > MAX_LINES as usize || self.bytes > MAX_BYTES {
            let Some(line) = self.lines.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(line.text.len());
            dropped += 1;
        }
        dropped
    }

    fn find_or_add_pod(
        &mut self,
        key: Arc<ObjectKey>,
        label: &impl Fn(&ObjectKey) -> String,
    ) -> usize {
        if let Some(at) = self.pods.iter().position(|pod| pod.key == key) {
            return at;
        }
        let label = truncate_middle(&label(&key), MAX_LABEL).into_owned();
        self.label_width = self.label_width.max(display_width(&label));
        let role = self.choose_role(&key);
        self.pods.push(LogPod { key, label, role });
        self.pods.len() - 1
    }

    /// A colour that a pod gets every time, unless another one has it while one is free.
    fn choose_role(&self, key: &ObjectKey) -> Role {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let first = usize::try_from(hasher.finish() % Role::SERIES.len() as u64).unwrap_or(0);
        let all = || {
            Role::SERIES
                .iter()
                .cycle()
                .skip(first)
                .take(Role::SERIES.len())
        };
        let uses = |role: &Role| self.pods.iter().filter(|pod| pod.role == *role).count();
        all()
            .min_by_key(|role| uses(role))
            .copied()
            .unwrap_or(Role::Text)
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Number of pods of which something was read.
    pub(crate) fn pod_count(&self) -> usize {
        self.pods.len()
    }

    fn prefix_width(&self, look: LogLook) -> usize {
        let time = if look.timestamps { TIME_WIDTH } else { 0 };
        let label = if look.labels { self.label_width + 1 } else { 0 };
        time + label
    }

    /// Columns of a line.
    pub(crate) fn line_width(&self, at: usize, look: LogLook) -> usize {
        self.prefix_width(look) + self.lines.get(at).map_or(0, |line| line.width)
    }

    /// A line as it is drawn.
    pub(crate) fn line(&self, at: usize, look: LogLook) -> RichText {
        let Some(line) = self.lines.get(at) else {
            return RichText::new();
        };
        let mut rich = RichText::new();
        if look.timestamps {
            let time = line.time.map(format_log_time).unwrap_or_default();
            rich = rich.add_column(Role::Muted, time, TIME_WIDTH);
        }
        if let Some(pod) = self.pods.get(line.pod).filter(|_| look.labels) {
            rich = rich
                .add_column(pod.role, &pod.label, self.label_width)
                .add(Role::Text, " ");
        }
        rich.add(line.role, &line.text)
    }

    /// What a filter looks at: the label and the line.
    pub(crate) fn filter_text(&self, at: usize, look: LogLook) -> String {
        self.line(at, look).plain_text()
    }
}

fn format_log_time(time: Timestamp) -> String {
    time.strftime("%m-%d %H:%M:%S%.3f ").to_string()
}

/// Lines of errors and warnings stand out.
fn line_role(line: &str) -> Role {
    let lower: String = line.chars().take(80).collect::<String>().to_lowercase();
    if ["error", "panic", "fatal"]
        .iter()
        .any(|w| lower.contains(w))
    {
        Role::Bad
    } else if lower.contains("warn") {
        Role::Warn
    } else {
        Role::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{log::LogLine, text::Clean};

    fn pod(name: &str) -> Arc<ObjectKey> {
        Arc::new(ObjectKey::at_home("demo", name))
    }

    fn line(name: &str, second: i64, text: &str) -> LogEvent {
        LogEvent::Line(LogLine {
            pod: pod(name),
            container: None,
            time: Timestamp::from_second(second).ok(),
            text: Clean::from(text),
        })
    }

    const LOOK: LogLook = LogLook {
        timestamps: false,
        labels: true,
    };

    fn shown(log: &LogBuffer) -> Vec<String> {
        (0..log.len())
            .map(|at| log.line(at, LOOK).plain_text())
            .collect()
    }

    #[test]
    fn lines_of_several_pods_stand_in_the_order_of_time() {
        let mut log = LogBuffer::default();
        let name = |key: &ObjectKey| key.name.clone();
        let first = vec![line("a", 1, "one"), line("a", 4, "four")];
        log.append_events(first, name);
        let second = vec![
            line("bb", 2, "two"),
            LogEvent::Gone(pod("bb")),
            line("a", 5, "five"),
        ];
        log.append_events(second, name);
        assert_eq!(
            shown(&log),
            [
                "a  one",
                "bb two",
                "a  four",
                "bb this pod is gone",
                "a  five"
            ]
        );
        assert_eq!(log.line_width(4, LOOK), 7);
    }

    #[test]
    fn old_lines_are_dropped_by_number_and_by_size() {
        let mut log = LogBuffer::default();
        let many = (0..12_000).map(|n| line("a", n, "x")).collect();
        assert_eq!(log.append_events(many, |_| String::new()), 2_000);
        assert_eq!(log.len(), 10_000);
        let big = "y".repeat(16 << 10);
        let many = (0..1_000).map(|n| line("a", 20_000 + n, &big)).collect();
        log.append_events(many, |_| String::new());
        assert_eq!(log.len(), MAX_BYTES / big.len());
    }

    #[test]
    fn pods_keep_their_colours_and_the_first_ones_differ() {
        let mut log = LogBuffer::default();
        let events = |names: &[&str]| names.iter().map(|n| line(n, 0, "x")).collect::<Vec<_>>();
        let names = ["a", "b", "c", "d", "e", "f"];
        log.append_events(events(&names), |key| key.name.clone());
        let role = |log: &LogBuffer, at: usize| log.line(at, LOOK).runs[0].0;
        let mut roles: Vec<Role> = (0..Role::SERIES.len()).map(|at| role(&log, at)).collect();
        roles.sort();
        roles.dedup();
        assert_eq!(roles.len(), Role::SERIES.len());
        let mut again = LogBuffer::default();
        again.append_events(events(&["a"]), |key| key.name.clone());
        assert_eq!(role(&log, 0), role(&again, 0));
    }
}
