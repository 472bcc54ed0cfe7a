//! One process behind the shim: started, told to stop, waited for, its output written to a log.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;

use super::logs::LogWriter;
use crate::pocket::shim;

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
}

/// Dropped while it runs, it is ended by the shim.
pub struct Process {
    child: Child,
    /// Commands to the shim; its end is ours.
    orders: Option<ChildStdin>,
    output: JoinSet<()>,
    log: Option<LogWriter>,
}

impl Process {
    /// Start; with no log the output is dropped.
    pub fn start(graylane: &Path, launch: &Launch, log: Option<LogWriter>) -> io::Result<Self> {
        let mut command = Command::new(graylane);
        command.arg(shim::NAME);
        if let Some(lock) = &launch.lock {
            command.arg("--lock").arg(lock);
        }
        command.arg("--").args(&launch.words).env_clear().envs(&launch.env).current_dir(&launch.dir);
        let out = || if log.is_some() { Stdio::piped() } else { Stdio::null() };
        // A group of its own: what the terminal sends to graylane is not for containers.
        command.stdin(Stdio::piped()).stdout(out()).stderr(out()).process_group(0);
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
        Ok(Self { child, orders, output, log })
    }

    /// TERM to its group.
    pub async fn terminate(&mut self) {
        self.order(b"T").await;
    }

    /// KILL to its group.
    pub async fn kill(&mut self) {
        self.order(b"K").await;
    }

    async fn order(&mut self, byte: &[u8]) {
        if let Some(pipe) = self.orders.as_mut() {
            let _ = pipe.write_all(byte).await;
        }
    }

    /// Its exit code (128 + signal), once it and its output have ended. May be called again after being dropped.
    pub async fn wait(&mut self) -> i32 {
        let code = self.child.wait().await.ok().and_then(|s| s.code()).unwrap_or(137);
        while self.output.join_next().await.is_some() {}
        if let Some(log) = self.log.take() {
            log.end();
        }
        code
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
