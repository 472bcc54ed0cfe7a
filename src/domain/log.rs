//! Logs of pods: which part is read, and what comes of it.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::{pod_selection::PodSelection, text::Clean, world::ObjectKey};

/// Lines that are read of a log at first, unless a time was chosen.
pub const TAIL_LINES: u32 = 500;
/// Most lines that are read of one log, however long it is: no more are kept on the screen.
pub const MAX_LINES: u32 = 10_000;
/// Most logs that are followed at once.
pub const MAX_STREAMS: usize = 50;

/// How far back a log is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogRange {
    /// The last lines.
    #[default]
    Tail,
    /// Lines of the last so many seconds.
    Since(u32),
    /// All that is kept of it.
    All,
}

impl LogRange {
    /// The choices of a key, in its order.
    const CHOICES: [Self; 6] = [
        Self::Tail,
        Self::Since(60),
        Self::Since(300),
        Self::Since(900),
        Self::Since(3600),
        Self::All,
    ];

    /// The next choice; after the last one the first.
    #[must_use]
    pub fn next_choice(self) -> Self {
        let at = Self::CHOICES.iter().position(|choice| *choice == self);
        let next = at.map_or(0, |at| (at + 1) % Self::CHOICES.len());
        Self::CHOICES.get(next).copied().unwrap_or_default()
    }

    /// `sinceSeconds` of a request.
    pub const fn since_seconds(self) -> Option<u32> {
        match self {
            Self::Since(seconds) => Some(seconds),
            Self::Tail | Self::All => None,
        }
    }

    /// `tailLines` of a request for the log of one of so many pods.
    pub fn tail_lines(self, pods: usize) -> u32 {
        match self {
            // Of many pods fewer lines each, so that the screen is not full of old ones.
            Self::Tail => match u32::try_from(pods).unwrap_or(u32::MAX) {
                0 | 1 => TAIL_LINES,
                many => (4 * TAIL_LINES / many).clamp(50, TAIL_LINES),
            },
            Self::Since(_) | Self::All => MAX_LINES,
        }
    }
}

impl fmt::Display for LogRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tail => f.write_str("tail"),
            Self::Since(seconds) if seconds % 3600 == 0 => write!(f, "last {} h", seconds / 3600),
            Self::Since(seconds) if seconds % 60 == 0 => write!(f, "last {} min", seconds / 60),
            Self::Since(seconds) => write!(f, "last {seconds} s"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Which containers of a pod are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerChoice {
    /// The first one.
    #[default]
    First,
    /// All of them, but those that run before the others (init containers).
    All,
    /// Those of these names.
    Named(Vec<String>),
}

/// The logs to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Pods whose logs are read.
    pub selection: PodSelection,
    /// Containers of each pod whose logs are read.
    pub containers: ContainerChoice,
    /// Only lines of the last so many seconds.
    pub since: Option<u32>,
    /// Only so many lines from the end of each log.
    pub tail: Option<u32>,
    /// The run before the last restart, which is not followed.
    pub previous: bool,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Pod that wrote it.
    pub pod: Arc<ObjectKey>,
    /// Container that wrote it, where several of the pod are read.
    pub container: Option<Arc<str>>,
    /// Time at which the cluster received it.
    pub time: Option<Timestamp>,
    /// The line.
    pub text: Clean,
}

impl LogLine {
    /// Splits a line that was asked for with its timestamp.
    pub fn parse_line(pod: &Arc<ObjectKey>, line: &str) -> Self {
        let split = line.split_once(' ').unwrap_or((line, ""));
        let parsed = split.0.parse().ok().map(|time| (time, split.1));
        let (time, text) = parsed.map_or((None, line), |(time, text)| (Some(time), text));
        Self {
            pod: Arc::clone(pod),
            container: None,
            time,
            text: Clean::from_untrusted(text),
        }
    }
}

/// What comes of following logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// One more line.
    Line(LogLine),
    /// A pod of the selection has come since.
    Came(Arc<ObjectKey>),
    /// A pod is gone, and all of its log was read.
    Gone(Arc<ObjectKey>),
    /// A log cannot be read now; it is tried again.
    Failed(Arc<ObjectKey>, Clean),
    /// So many of the selected logs are not read, because there are too many.
    LeftOut(usize),
    /// One of several logs has no run before its last restart.
    NoRunBefore(Arc<ObjectKey>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_from_its_time() {
        let pod = Arc::new(ObjectKey::default());
        let read = |line: &str| {
            let line = LogLine::parse_line(&pod, line);
            (line.time.map(|t| t.to_string()), line.text.into_string())
        };
        let time = Some("2026-11-30T21:03:12.5Z".to_owned());
        assert_eq!(
            read("2026-11-30T21:03:12.500000000Z GET \u{1b}[1m/a"),
            (time.clone(), "GET /a".into())
        );
        assert_eq!(
            read("2026-11-30T21:03:12.5Z  two blanks"),
            (time.clone(), " two blanks".into())
        );
        assert_eq!(read("2026-11-30T21:03:12.5Z"), (time, String::new()));
        assert_eq!(read("no time here"), (None, "no time here".into()));
    }

    #[test]
    fn every_choice_is_reached_and_reads_no_more_than_is_kept() {
        let mut range = LogRange::default();
        let mut told = vec![];
        for _ in LogRange::CHOICES {
            told.push(range.to_string());
            assert!((1..=MAX_LINES).contains(&range.tail_lines(told.len() * 9)));
            range = range.next_choice();
        }
        assert_eq!(range, LogRange::default());
        assert_eq!(
            told,
            [
                "tail",
                "last 1 min",
                "last 5 min",
                "last 15 min",
                "last 1 h",
                "all"
            ]
        );
        assert_eq!(LogRange::Tail.tail_lines(1), 500);
        assert_eq!(LogRange::Tail.tail_lines(1000), 50);
    }
}
