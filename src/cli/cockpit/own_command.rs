//! Runs a user's own command in the background, and tells what it writes, within limits.

use std::{io, process::Stdio, time::Duration};

use futures::stream::{self, BoxStream, StreamExt};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::{Child, Command},
    time::{Instant, timeout_at},
};

use crate::{
    domain::text::{Clean, format_bytes},
    ui::{Answer, Fault},
};

/// How much a command may write, and how long it may run.
#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    time: Duration,
}

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    time: Duration::from_mins(1),
};

/// Runs a program until it ends, its limits are reached, or the stream is dropped; the last two end
/// it and what it started.
pub(super) fn run_command(argv: Vec<String>) -> BoxStream<'static, Answer> {
    run_within(argv, LIMITS)
}

fn run_within(argv: Vec<String>, limits: Limits) -> BoxStream<'static, Answer> {
    let running = match Running::start(&argv, limits) {
        Ok(running) => running,
        Err(why) => {
            let program = argv.first().map_or("", String::as_str);
            let words = format!("{program} could not be run: {why}");
            return stream::iter([Answer::Failed(Fault::new(&words))]).boxed();
        }
    };
    let next = |running: Option<Running>| async move { running?.read_next().await };
    stream::unfold(Some(running), next)
        .flat_map(stream::iter)
        .boxed()
}

/// A running command; it ends with this.
struct Running {
    child: Child,
    /// Its process group, until it has ended by itself.
    group: Option<Pid>,
    /// What it writes, to stdout and to stderr, in that order in which it does.
    output: pipe::Receiver,
    /// The begin of a line.
    rest: Vec<u8>,
    left: usize,
    until: Instant,
    limits: Limits,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Running {
    fn start(argv: &[String], limits: Limits) -> io::Result<Self> {
        let (program, args) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (reader, writer) = io::pipe()?;
        // The command keeps the writing ends; it is dropped here so that the end is seen.
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            group: id.and_then(Pid::from_raw),
            child,
            output: pipe::Receiver::from_owned_fd(reader.into())?,
            rest: vec![],
            left: limits.bytes,
            until: Instant::now() + limits.time,
            limits,
        })
    }

    /// What it wrote next; without a rest it was the last.
    async fn read_next(mut self) -> Option<(Vec<Answer>, Option<Self>)> {
        let mut chunk = vec![0; self.left.clamp(1, 16 << 10)];
        match timeout_at(self.until, self.output.read(&mut chunk)).await {
            Err(_) => Some((self.stop_late(), None)),
            Ok(Ok(0)) => Some((self.finish().await, None)),
            Ok(Err(why)) => {
                let words = format!("its output cannot be read: {why}");
                Some((self.end_with(Some(words)), None))
            }
            Ok(Ok(_)) if self.left == 0 => {
                let most = format_bytes(u64::try_from(self.limits.bytes).unwrap_or(u64::MAX));
                let words = format!("stopped: it wrote more than {most}");
                Some((self.end_with(Some(words)), None))
            }
            Ok(Ok(read)) => {
                self.left -= read;
                self.rest.extend(chunk.iter().take(read));
                let whole = self
                    .rest
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |n| n + 1);
                let lines: Vec<u8> = self.rest.drain(..whole).collect();
                Some((vec![Answer::Lines(clean_lines(&lines))], Some(self)))
            }
        }
    }

    /// It has closed its output: how it ends is told unless all went well.
    async fn finish(mut self) -> Vec<Answer> {
        match timeout_at(self.until, self.child.wait()).await {
            Err(_) => self.stop_late(),
            Ok(status) => {
                // What it left in the background goes on, as after a command of a shell.
                self.group = None;
                let words = match status {
                    Ok(status) if status.success() => None,
                    Ok(status) => Some(format!("it ended with {status}")),
                    Err(why) => Some(format!("its end cannot be told: {why}")),
                };
                self.end_with(words)
            }
        }
    }

    fn stop_late(self) -> Vec<Answer> {
        let words = format!("stopped: it ran for {} s", self.limits.time.as_secs());
        self.end_with(Some(words))
    }

    /// The last line, and what is to be said.
    fn end_with(self, words: Option<String>) -> Vec<Answer> {
        let last = Answer::Lines(clean_lines(&self.rest));
        let told = words.map(|words| Answer::Failed(Fault::new(&words)));
        std::iter::once(last).chain(told).collect()
    }
}

fn clean_lines(bytes: &[u8]) -> Vec<Clean> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(Clean::from_untrusted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines, and what was told at the end.
    async fn run(argv: &[&str], limits: Limits) -> (Vec<String>, Option<String>) {
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let (mut lines, mut told) = (vec![], None);
        let mut answers = run_within(argv, limits);
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Lines(more) => lines.extend(more.into_iter().map(Clean::into_string)),
                Answer::Failed(fault) => told = Some(fault.text.into_string()),
                other => panic!("{other:?}"),
            }
        }
        (lines, told)
    }

    #[tokio::test]
    async fn every_argument_arrives_as_it_is() {
        let hard = ["a b", "'\"`$(id)\\", "-n", "--", "*", "", "é;&|<>#~"];
        let argv: Vec<&str> = ["sh", "-c", r#"printf '[%s]\n' "$@""#, "sh"]
            .into_iter()
            .chain(hard)
            .collect();
        let (lines, told) = run(&argv, LIMITS).await;
        assert_eq!(lines, hard.map(|text| format!("[{text}]")));
        assert_eq!(told, None);
    }

    #[tokio::test]
    async fn output_is_cleaned_and_in_order_and_failures_are_told() {
        let script = r"echo out; printf '\033[31mred\033[0m\n' >&2; printf last; exit 3";
        let (lines, told) = run(&["sh", "-c", script], LIMITS).await;
        assert_eq!(lines, ["out", "red", "last"]);
        assert_eq!(told.as_deref(), Some("it ended with exit status: 3"));
        let (lines, told) = run(&["/no/such/program"], LIMITS).await;
        let told = told.unwrap();
        assert!(
            lines.is_empty() && told.starts_with("/no/such/program could not"),
            "{told}"
        );
        // It reads no key of the cockpit.
        assert_eq!(run(&["cat"], LIMITS).await, (vec![], None));
    }

    #[tokio::test]
    async fn too_much_and_too_long_is_stopped() {
        let few = Limits {
            bytes: 1000,
            ..LIMITS
        };
        let (lines, told) = run(&["sh", "-c", "while :; do echo yes; done"], few).await;
        assert_eq!(lines.len(), 250);
        assert_eq!(told.as_deref(), Some("stopped: it wrote more than 1000B"));
        let short = Limits {
            time: Duration::from_millis(300),
            ..LIMITS
        };
        for script in ["sleep 1000", "exec >&- 2>&-; sleep 1000"] {
            let (_, told) = run(&["sh", "-c", script], short).await;
            assert_eq!(told.as_deref(), Some("stopped: it ran for 0 s"), "{script}");
        }
    }

    /// What a command started ends with it, when nobody reads its output any more.
    #[tokio::test]
    async fn a_command_that_nobody_reads_ends_with_its_children() {
        let argv = ["sh", "-c", "sleep 1000 & echo $!; wait"];
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let mut answers = run_command(argv);
        let Some(Answer::Lines(lines)) = answers.next().await else {
            panic!("no lines");
        };
        let id: i32 = lines.first().unwrap().parse().unwrap();
        drop(answers);
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let wait = async {
            while !is_gone() {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_mins(1);
        tokio::time::timeout(limit, wait).await.expect("it ends");
    }
}
