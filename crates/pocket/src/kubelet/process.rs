//! One process behind the shim: started, stopped, waited for, and its output written to a log.
//!
//! After a request to stop, no wait is unlimited: a shim that does not react is killed, orphans of
//! a killed shim are killed, and output that another process keeps open is not read further.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::logs::LogWriter;
use crate::inherited::InheritedLimits;
use crate::orphans::{self, Session};
use crate::shim;

/// Time in which a working shim reacts to a command.
const SHIM_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to read the rest of the pipes after all processes of a run have ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Exit code of a process that was ended by KILL.
const KILLED_EXIT_CODE: i32 = 137;
/// Longer lines are written in parts.
const MAX_LINE: u64 = 16 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    pub words: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub dir: PathBuf,
    /// Lock file, held during a run so that two runs of one container never overlap.
    pub lock: Option<PathBuf>,
    /// Value of [`orphans::MARK_VARIABLE`], by which all processes of this run are found.
    pub mark: String,
}

/// A process behind the shim. If dropped while it runs, the shim ends it.
pub struct Process {
    child: Child,
    /// Pipe for commands to the shim; when it closes, the shim ends the process.
    orders: Option<ChildStdin>,
    output: JoinSet<()>,
    /// Deadline for reading the output, set when the shim has ended.
    output_until: Option<Instant>,
    log: Option<LogWriter>,
    mark: String,
    lock: Option<PathBuf>,
}

impl Process {
    /// Starts the process; without a log its output is discarded.
    pub fn start(program: &Path, launch: &Launch, log: Option<LogWriter>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(shim::SUBCOMMAND);
        if let Some(lock) = &launch.lock {
            command.arg("--lock").arg(lock);
        }
        if let Some(found) = InheritedLimits::get_original() {
            command.arg("--inherit").arg(found.to_word());
        }
        command
            .arg("--")
            .args(&launch.words)
            .env_clear()
            .envs(&launch.env)
            .current_dir(&launch.dir);
        command.env(orphans::MARK_VARIABLE, &launch.mark);
        let out = || {
            if log.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        // A separate process group, so that signals from the pocket's terminal do not reach
        // containers.
        command
            .stdin(Stdio::piped())
            .stdout(out())
            .stderr(out())
            .process_group(0);
        let mut child = command.spawn()?;
        let mut output = JoinSet::new();
        if let Some(log) = &log {
            if let Some(out) = child.stdout.take() {
                output.spawn(pump_output("stdout", out, log.clone()));
            }
            if let Some(err) = child.stderr.take() {
                output.spawn(pump_output("stderr", err, log.clone()));
            }
        }
        let orders = child.stdin.take();
        let (mark, lock) = (launch.mark.clone(), launch.lock.clone());
        Ok(Self {
            child,
            orders,
            output,
            output_until: None,
            log,
            mark,
            lock,
        })
    }

    /// Sends TERM to its process group.
    pub async fn terminate(&mut self) {
        self.send_order(b"T").await;
    }

    /// Sends KILL to its process group, and kills a shim that does not react; returns the exit
    /// code.
    pub async fn kill(&mut self) -> i32 {
        self.send_order(b"K").await;
        if let Ok(code) = timeout(SHIM_TIMEOUT, self.wait()).await {
            return code;
        }
        tracing::warn!(
            run = self.mark,
            "the shim of a container does not obey, and is killed"
        );
        let _ = self.child.start_kill();
        if let Ok(code) = timeout(SHIM_TIMEOUT + DRAIN_TIMEOUT, self.wait()).await {
            code
        } else {
            tracing::error!(
                run = self.mark,
                "a process cannot be killed, and is not waited for any more"
            );
            self.close_log();
            KILLED_EXIT_CODE
        }
    }

    async fn send_order(&mut self, byte: &[u8]) {
        self.resume_shim();
        if let Some(pipe) = self.orders.as_mut() {
            let _ = pipe.write_all(byte).await;
        }
    }

    /// Continues the shim, because a stopped one cannot react.
    fn resume_shim(&self) {
        // Not waited for yet, so its pid cannot have been reused.
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?))
        {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// Waits until the process and its output have ended; returns the exit code (128 + signal).
    /// Cancel safe: may be called again after being dropped.
    pub async fn wait(&mut self) -> i32 {
        let status = self.child.wait().await.ok();
        if status.is_none_or(|s| s.signal().is_some()) {
            // The shim was killed and left its processes behind.
            let session = self.lock.as_deref().and_then(Session::read_file);
            orphans::kill_processes_async(
                self.mark.clone(),
                session.into_iter().collect(),
                Duration::ZERO,
                SHIM_TIMEOUT,
            )
            .await;
        }
        let until = *self
            .output_until
            .get_or_insert_with(|| Instant::now() + DRAIN_TIMEOUT);
        while let Ok(Some(_)) = timeout_at(until, self.output.join_next()).await {}
        self.close_log();
        status.and_then(|s| s.code()).unwrap_or(KILLED_EXIT_CODE)
    }

    fn close_log(&mut self) {
        self.output.abort_all();
        if let Some(log) = self.log.take() {
            log.finish_run();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.resume_shim();
    }
}

async fn pump_output(stream: &'static str, from: impl AsyncRead + Unpin, log: LogWriter) {
    let mut from = BufReader::with_capacity(MAX_LINE as usize, from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut from, MAX_LINE);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let whole = line.last() == Some(&b'\n');
                if whole {
                    line.pop();
                }
                log.write_line(stream, &line, whole);
            }
        }
    }
}

/// Finds a program as `execvp` would.
pub fn find_program(program: &str, env: &BTreeMap<String, String>, dir: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        let path = dir.join(program);
        return path.is_file().then_some(path);
    }
    let path = env.get("PATH").cloned().unwrap_or_default();
    let mut places: VecDeque<PathBuf> = std::env::split_paths(&path).collect();
    while let Some(place) = places.pop_front() {
        let file = place.join(program);
        if file.is_file() {
            return Some(file);
        }
    }
    None
}
