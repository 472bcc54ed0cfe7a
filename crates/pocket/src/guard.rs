//! A process beside the pocket that kills orphaned containers when pocket and shims die at once.
//!
//! `PROGRAM __guard MARK PODS`: standard input is a pipe from the kubelet, and the guard waits
//! only for its end, which means that the kubelet is gone. Shims get a short time to end their
//! containers. Then everything is killed that carries the mark or is in a session of a container
//! under the folder PODS.
//!
//! It is a separate process so that any two of the three can be killed without leaving processes
//! behind: without the guard the shims clean up, without a shim the kubelet does, and without both
//! the guard does.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::orphans::{self, Marks, Session};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__guard";
/// Time that shims get to end their containers; they need half a second between TERM and KILL.
pub const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// Time limit for killing; what survives it hangs in the kernel.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before a guard that ended is started again.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Runs the guard. `args` are the arguments after the subcommand's name.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(mark), Some(pods)) = (args.next().and_then(|m| m.into_string().ok()), args.next())
    else {
        eprintln!("{SUBCOMMAND} is for the kubelet's own use");
        return ExitCode::from(2);
    };
    // Signals from pocket's terminal, above all its hang-up, must not reach the guard.
    let _ = rustix::process::setsid();
    let mut stdin = io::stdin();
    let mut bytes = [0; 64];
    loop {
        match stdin.read(&mut bytes) {
            Ok(0) => break,
            Err(why) if why.kind() != io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    let sessions = Session::read_all(&PathBuf::from(pods));
    if orphans::kill_processes(&mark, &sessions, GRACE_PERIOD, KILL_TIMEOUT) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn start_guard(program: &Path, marks: &Marks, pods: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg(SUBCOMMAND)
        .arg(marks.start_prefix())
        .arg(pods)
        .env_clear()
        .current_dir("/");
    // A stopped guard does not notice that this pocket ended; the next start of the pocket kills
    // it.
    command.env(
        orphans::MARK_VARIABLE,
        format!("{}guard", marks.state_prefix()),
    );
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Runs a guard, and restarts it if it ends, until `unused` is cancelled.
pub async fn keep_running(
    program: PathBuf,
    marks: Marks,
    pods: PathBuf,
    unused: CancellationToken,
) {
    loop {
        match start_guard(&program, &marks, &pods) {
            Ok(mut guard) => {
                // Kept open: the guard waits for its end.
                let pipe = guard.stdin.take();
                if unused.run_until_cancelled(guard.wait()).await.is_none() {
                    drop(pipe);
                    let _ = guard.wait().await;
                    return;
                }
                tracing::warn!("the guard of the containers has ended, and is started again");
            }
            Err(error) => {
                tracing::warn!(%error, "no guard: what pocket and a shim leave when both are killed at once stays");
            }
        }
        if unused
            .run_until_cancelled(tokio::time::sleep(RESTART_DELAY))
            .await
            .is_none()
        {
            return;
        }
    }
}
