//! One process behind the shim: started, told to stop, waited for, its output written to a log.
//!
//! No wait for it is without end once it has been told to stop: a shim that does not obey is killed, what a killed shim
//! leaves is killed, and output that somebody else holds open is not read any more.

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
use crate::pocket::inherited::Inherited;
use crate::pocket::leftovers::{self, Session};
use crate::pocket::shim;

/// What the shim does is done in this time, or not at all.
const OBEYS: Duration = Duration::from_secs(5);
/// After the end of all processes of a run nobody writes: what is left in the pipes is read in this time.
const DRAIN: Duration = Duration::from_secs(10);
/// The exit code of what KILL has ended.
const KILLED: i32 = 137;
/// A longer line is written in parts.
const LONGEST: u64 = 16 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    pub words: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub dir: PathBuf,
    /// Held while it runs: two runs of one container never overlap.
    pub lock: Option<PathBuf>,
    /// The value of [`leftovers::VARIABLE`]: by it all processes of this run are found.
    pub mark: String,
}

/// Dropped while it runs, it is ended by the shim.
pub struct Process {
    child: Child,
    /// Commands to the shim; its end is ours.
    orders: Option<ChildStdin>,
    output: JoinSet<()>,
    /// Until when output is waited for; from the shim's end on.
    output_until: Option<Instant>,
    log: Option<LogWriter>,
    mark: String,
    lock: Option<PathBuf>,
}

impl Process {
    /// Start; with no log the output is dropped.
    pub fn start(graylane: &Path, launch: &Launch, log: Option<LogWriter>) -> io::Result<Self> {
        let mut command = Command::new(graylane);
        command.arg(shim::NAME);
        if let Some(lock) = &launch.lock {
            command.arg("--lock").arg(lock);
        }
        if let Some(found) = Inherited::found() {
            command.arg("--inherit").arg(found.to_word());
        }
        command
            .arg("--")
            .args(&launch.words)
            .env_clear()
            .envs(&launch.env)
            .current_dir(&launch.dir);
        command.env(leftovers::VARIABLE, &launch.mark);
        let out = || {
            if log.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        // A group of its own: what the terminal sends to graylane is not for containers.
        command
            .stdin(Stdio::piped())
            .stdout(out())
            .stderr(out())
            .process_group(0);
        let mut child = command.spawn()?;
        let mut output = JoinSet::new();
        if let Some(log) = &log {
            if let Some(out) = child.stdout.take() {
                output.spawn(pump("stdout", out, log.clone()));
            }
            if let Some(err) = child.stderr.take() {
                output.spawn(pump("stderr", err, log.clone()));
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

    /// TERM to its group.
    pub async fn terminate(&mut self) {
        self.order(b"T").await;
    }

    /// KILL to its group, and to a shim that does not obey; its exit code.
    pub async fn kill(&mut self) -> i32 {
        self.order(b"K").await;
        if let Ok(code) = timeout(OBEYS, self.wait()).await {
            return code;
        }
        tracing::warn!(
            run = self.mark,
            "the shim of a container does not obey, and is killed"
        );
        let _ = self.child.start_kill();
        match timeout(OBEYS + DRAIN, self.wait()).await {
            Ok(code) => code,
            Err(_) => {
                tracing::error!(
                    run = self.mark,
                    "a process cannot be killed, and is not waited for any more"
                );
                self.close_log();
                KILLED
            }
        }
    }

    async fn order(&mut self, byte: &[u8]) {
        self.wake();
        if let Some(pipe) = self.orders.as_mut() {
            let _ = pipe.write_all(byte).await;
        }
    }

    /// A shim that somebody has stopped could not obey.
    fn wake(&self) {
        // Not waited for yet: the number is still its own.
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?))
        {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// Its exit code (128 + signal), once it and its output have ended. May be called again after being dropped.
    pub async fn wait(&mut self) -> i32 {
        let status = self.child.wait().await.ok();
        if status.is_none_or(|s| s.signal().is_some()) {
            // Killed, it has left what it watched over.
            let session = self.lock.as_deref().and_then(Session::read);
            leftovers::end_async(
                self.mark.clone(),
                session.into_iter().collect(),
                Duration::ZERO,
                OBEYS,
            )
            .await;
        }
        let until = *self
            .output_until
            .get_or_insert_with(|| Instant::now() + DRAIN);
        while let Ok(Some(_)) = timeout_at(until, self.output.join_next()).await {}
        self.close_log();
        status.and_then(|s| s.code()).unwrap_or(KILLED)
    }

    fn close_log(&mut self) {
        self.output.abort_all();
        if let Some(log) = self.log.take() {
            log.end();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.wake();
    }
}

async fn pump(stream: &'static str, from: impl AsyncRead + Unpin, log: LogWriter) {
    let mut from = BufReader::with_capacity(LONGEST as usize, from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut from, LONGEST);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let whole = line.last() == Some(&b'\n');
                if whole {
                    line.pop();
                }
                log.write(stream, &line, whole);
            }
        }
    }
}

/// Where a program is, as `execvp` would find it.
pub fn find(program: &str, env: &BTreeMap<String, String>, dir: &Path) -> Option<PathBuf> {
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
