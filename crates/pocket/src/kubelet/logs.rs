//! Container logs: one file per run in the CRI format, limited by rotation, followed without
//! polling.
//!
//! `pods/UID/CONTAINER/N.log` is run N; a full file becomes `N.log.1`. The current run and the one
//! before it are kept.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::clock;
use crate::rest::{LogError, LogOptions, LogSource, LogStream};

/// Maximum size of a log file; two files are kept per run.
const MAX_FILE_SIZE: u64 = 10 * 1024 * 1024;

/// Progress of a run's log: bytes written, files started, and whether it has ended.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    bytes: u64,
    files: u32,
    ended: bool,
}

struct OpenFile {
    file: File,
    size: u64,
}

/// Writes the output of one run; clones write to the same log.
#[derive(Clone)]
pub struct LogWriter {
    path: PathBuf,
    open: Arc<Mutex<Option<OpenFile>>>,
    progress: watch::Sender<Progress>,
    limit: u64,
}

impl LogWriter {
    fn new(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        let open = Arc::new(Mutex::new(Some(OpenFile { file, size })));
        Ok(Self {
            path,
            open,
            progress: watch::Sender::new(Progress::default()),
            limit,
        })
    }

    /// Writes a line of `stdout` or `stderr`, or a part of one if `whole` is false. If the disk is
    /// full, lines are lost, but the pod goes on.
    pub fn write_line(&self, stream: &str, text: &[u8], whole: bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = open.as_mut() else { return };
        let mut line = format!(
            "{} {stream} {} ",
            clock::now(),
            if whole { 'F' } else { 'P' }
        )
        .into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if to.size > 0 && to.size + line.len() as u64 > self.limit {
            let _ = fs::rename(&self.path, rotated_path(&self.path));
            match OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)
            {
                Ok(file) => *to = OpenFile { file, size: 0 },
                Err(_) => return,
            }
            self.progress.send_modify(|p| p.files += 1);
        }
        if to.file.write_all(&line).is_ok() {
            to.size += line.len() as u64;
            self.progress.send_modify(|p| p.bytes += line.len() as u64);
        }
    }

    /// Marks the run as ended; followers end too.
    pub fn finish_run(&self) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.progress.send_modify(|p| p.ended = true);
    }
}

fn rotated_path(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

type RunningLogs = HashMap<(String, String), (i32, watch::Receiver<Progress>)>;

/// All logs under `pods/`.
pub struct ContainerLogs {
    dir: PathBuf,
    running: Mutex<RunningLogs>,
}

impl ContainerLogs {
    pub fn new(pods: &Path) -> Self {
        Self {
            dir: pods.to_owned(),
            running: Mutex::default(),
        }
    }

    fn container_dir(&self, uid: &str, container: &str) -> PathBuf {
        self.dir.join(uid).join(container)
    }

    /// Creates the log of a run and removes runs older than the previous one.
    pub fn start_run(&self, uid: &str, container: &str, run: i32) -> io::Result<LogWriter> {
        let dir = self.container_dir(uid, container);
        fs::create_dir_all(&dir)?;
        for (n, path) in list_runs(&dir) {
            if n < run - 1 {
                let _ = fs::remove_file(rotated_path(&path));
                let _ = fs::remove_file(path);
            }
        }
        let writer = LogWriter::new(dir.join(format!("{run}.log")), MAX_FILE_SIZE)?;
        let key = (uid.to_owned(), container.to_owned());
        let entry = (run, writer.progress.subscribe());
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, entry);
        Ok(writer)
    }

    /// Forgets the running logs of a deleted pod.
    pub fn remove(&self, uid: &str) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(u, _), _| u != uid);
    }

    fn open_stream(&self, pod: &Value, options: LogOptions) -> Result<LogStream, LogError> {
        let text = |path: &str| {
            pod.pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (uid, name, container) = (
            text("/metadata/uid"),
            text("/metadata/name"),
            options.container.clone(),
        );
        let mut files = list_runs(&self.container_dir(&uid, &container));
        if options.previous {
            files.pop();
        }
        let Some((run, path)) = files.pop() else {
            let why = if options.previous {
                format!("previous terminated container {container:?} in pod {name:?} not found")
            } else {
                format!(
                    "container {container:?} in pod {name:?} is waiting to start: {}",
                    waiting_reason(pod, &container)
                )
            };
            return Err(LogError::NotAvailable(why));
        };
        let live = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(uid, container))
            .cloned();
        let live = live
            .filter(|(n, _)| *n == run)
            .map(|(_, progress)| progress);
        let follow = live.filter(|_| options.follow);
        let start = follow.as_ref().map_or(0, |p| p.borrow().files);
        let mut bytes = fs::read(rotated_path(&path)).unwrap_or_default();
        let mut file = File::open(&path)?;
        file.read_to_end(&mut bytes)?;
        let mut shape = LineFormatter::new(&options);
        let first = shape.format_tail(&bytes, options.tail_lines);
        let tail = LogFollower {
            path,
            file,
            files: start,
            shape,
            progress: follow,
            rest: Vec::new(),
        };
        let more = stream::unfold(tail, LogFollower::next);
        Ok(stream::iter([Ok(first)])
            .chain(more)
            .filter(|c| std::future::ready(!matches!(c, Ok(b) if b.is_empty())))
            .boxed())
    }
}

fn waiting_reason(pod: &Value, container: &str) -> String {
    let all = ["containerStatuses", "initContainerStatuses"]
        .map(|l| pod["status"][l].as_array().cloned().unwrap_or_default());
    let status = all.iter().flatten().find(|s| s["name"] == container);
    let reason = status.and_then(|s| s["state"]["waiting"]["reason"].as_str());
    reason.unwrap_or("ContainerCreating").to_owned()
}

/// Lists the runs that have logs, in order.
fn list_runs(dir: &Path) -> Vec<(i32, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<(i32, PathBuf)> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .filter_map(|p| Some((p.file_stem()?.to_str()?.parse().ok()?, p)))
        .collect();
    all.sort();
    all
}

impl LogSource for ContainerLogs {
    fn open_log(
        &self,
        pod: Arc<Value>,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, LogError>> {
        std::future::ready(self.open_stream(&pod, options)).boxed()
    }
}

/// Formats the lines of a file as the client requested them.
struct LineFormatter {
    timestamps: bool,
    since: Option<Timestamp>,
    left: Option<u64>,
    /// Whether the next line continues the previous one.
    inside: bool,
}

impl LineFormatter {
    fn new(options: &LogOptions) -> Self {
        let LogOptions {
            timestamps,
            since,
            limit_bytes: left,
            ..
        } = *options;
        Self {
            timestamps,
            since,
            left,
            inside: false,
        }
    }

    fn format_tail(&mut self, bytes: &[u8], tail: Option<u64>) -> Bytes {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        let mut from = 0;
        if let Some(mut wanted) = tail {
            from = lines.len();
            // Each requested line ends with a whole line; the partial lines before it belong to it.
            while from > 0 {
                let whole = parse_line(lines[from - 1]).is_none_or(|(_, whole, _)| whole);
                if whole {
                    if wanted == 0 {
                        break;
                    }
                    wanted -= 1;
                }
                from -= 1;
            }
        }
        self.format_lines(lines[from..].iter().copied())
    }

    fn format_lines<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>) -> Bytes {
        let mut out = Vec::new();
        for line in lines {
            let Some((time, whole, text)) = parse_line(line) else {
                continue;
            };
            if self
                .since
                .is_some_and(|since| time.parse::<Timestamp>().is_ok_and(|t| t < since))
            {
                continue;
            }
            if self.timestamps && !self.inside {
                out.extend_from_slice(time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(text);
            if whole {
                out.push(b'\n');
            }
            self.inside = !whole;
        }
        if let Some(left) = self.left.as_mut() {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out.into()
    }
}

/// Parses `TIME STREAM F|P TEXT\n`.
fn parse_line(line: &[u8]) -> Option<(&str, bool, &[u8])> {
    let line = line.strip_suffix(b"\n")?;
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let (_stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?);
    Some((time, tag == b"F", text))
}

struct LogFollower {
    path: PathBuf,
    file: File,
    files: u32,
    shape: LineFormatter,
    progress: Option<watch::Receiver<Progress>>,
    rest: Vec<u8>,
}

impl LogFollower {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.shape.left == Some(0) {
            return None;
        }
        let progress = self.progress.as_mut()?;
        // Marked as seen before reading, so that lines written meanwhile wake the reader.
        let seen = *progress.borrow_and_update();
        if let Err(error) = self.file.read_to_end(&mut self.rest) {
            self.progress = None;
            return Some((Err(error), self));
        }
        if seen.files != self.files {
            self.files = seen.files;
            match File::open(&self.path).map(|f| self.file = f) {
                Ok(()) => {
                    let _ = self.file.read_to_end(&mut self.rest);
                }
                Err(_) => self.progress = None,
            }
        } else if seen.ended {
            self.progress = None;
        } else if self.rest.is_empty() {
            let _ = progress.changed().await;
        }
        let end = self
            .rest
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let rest = self.rest.split_off(end);
        let lines = std::mem::replace(&mut self.rest, rest);
        let chunk = self
            .shape
            .format_lines(lines.split_inclusive(|b| *b == b'\n'));
        Some((Ok(chunk), self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Arc<Value> {
        Arc::new(
            json!({"metadata": {"uid": "u", "name": "p"}, "status": {"containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
        )
    }

    fn options() -> LogOptions {
        LogOptions {
            container: "c".into(),
            ..LogOptions::default()
        }
    }

    async fn text(logs: &ContainerLogs, options: LogOptions) -> String {
        let all: Vec<Bytes> = logs
            .open_stream(&pod(), options)
            .unwrap()
            .map(Result::unwrap)
            .collect()
            .await;
        String::from_utf8(all.concat()).unwrap()
    }

    #[tokio::test]
    async fn what_was_written_is_read_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let logs = ContainerLogs::new(dir.path());
        let told = logs
            .open_stream(&pod(), options())
            .err()
            .unwrap()
            .to_string();
        assert!(
            told.contains("waiting to start: ImagePullBackOff"),
            "{told}"
        );
        let log = logs.start_run("u", "c", 0).unwrap();
        log.write_line("stdout", b"one", true);
        log.write_line("stderr", b"two ", false);
        log.write_line("stderr", b"halves", true);
        log.write_line("stdout", b"three", true);
        assert_eq!(text(&logs, options()).await, "one\ntwo halves\nthree\n");
        for (n, want) in [
            (0, ""),
            (1, "three\n"),
            (2, "two halves\nthree\n"),
            (9, "one\ntwo halves\nthree\n"),
        ] {
            assert_eq!(
                text(
                    &logs,
                    LogOptions {
                        tail_lines: Some(n),
                        ..options()
                    }
                )
                .await,
                want,
                "{n}"
            );
        }
        assert_eq!(
            text(
                &logs,
                LogOptions {
                    limit_bytes: Some(5),
                    ..options()
                }
            )
            .await,
            "one\nt"
        );
        let stamped = text(
            &logs,
            LogOptions {
                timestamps: true,
                tail_lines: Some(1),
                ..options()
            },
        )
        .await;
        let (time, rest) = stamped.split_once(' ').unwrap();
        assert!(
            time.parse::<Timestamp>().is_ok() && rest == "three\n",
            "{stamped}"
        );
        assert_eq!(
            text(
                &logs,
                LogOptions {
                    since: Some(Timestamp::MAX),
                    ..options()
                }
            )
            .await,
            ""
        );
        let previous = LogOptions {
            previous: true,
            ..options()
        };
        assert!(logs.open_stream(&pod(), previous.clone()).is_err());
        logs.start_run("u", "c", 1)
            .unwrap()
            .write_line("stdout", b"again", true);
        assert_eq!(text(&logs, options()).await, "again\n");
        assert!(text(&logs, previous.clone()).await.starts_with("one\n"));
        logs.start_run("u", "c", 2).unwrap();
        assert_eq!(
            text(&logs, previous).await,
            "again\n",
            "only the last two runs are kept"
        );
        assert_eq!(list_runs(&dir.path().join("u/c")).len(), 2);
    }

    #[tokio::test]
    async fn followers_see_all_lines_over_rotations_and_end_with_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let logs = ContainerLogs::new(dir.path());
        let mut log = logs.start_run("u", "c", 0).unwrap();
        log.limit = 4_000;
        log.write_line("stdout", b"early", true);
        let follow = logs
            .open_stream(
                &pod(),
                LogOptions {
                    follow: true,
                    ..options()
                },
            )
            .unwrap();
        let reading = tokio::spawn(follow.map(Result::unwrap).collect::<Vec<_>>());
        let mut want = "early\n".to_owned();
        for n in 0..300 {
            log.write_line("stdout", format!("line {n}").as_bytes(), true);
            want.push_str(&format!("line {n}\n"));
            tokio::task::yield_now().await;
        }
        log.finish_run();
        let got = String::from_utf8(reading.await.unwrap().concat()).unwrap();
        assert_eq!(got, want);
        let size: u64 = fs::read_dir(dir.path().join("u/c"))
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size <= 8_000, "{size}");
    }
}
