//! A process beside the pocket that ends what pocket and shims killed in one instant would leave.
//!
//! `graylane __guard MARK PODS`: standard input is a pipe from the kubelet. Its end means that no kubelet is left, and
//! that is all the guard waits for. Shims get a moment to end their containers; then everything is killed that bears
//! the mark or is in a session of a container under the folder PODS. It is a process of its own so that no two kills
//! leave anything: without the guard the shims do it, without a shim the kubelet, without both of these the guard.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::leftovers::{self, Marks, Session};

/// The hidden subcommand.
pub const NAME: &str = "__guard";
/// Shims need half a second between TERM and KILL.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// What cannot be killed in this time hangs in the kernel.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Between two starts of a guard that does not stay.
const PAUSE: Duration = Duration::from_secs(1);

/// `args` are those after the subcommand's name.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(mark), Some(pods)) = (args.next().and_then(|m| m.into_string().ok()), args.next())
    else {
        eprintln!("graylane {NAME} is for pocket's own use");
        return ExitCode::from(2);
    };
    // What the terminal sends to pocket, its hang-up above all, is not for the guard.
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
    let sessions = Session::all(&PathBuf::from(pods));
    match leftovers::end(&mark, &sessions, PATIENCE, LIMIT) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn start(graylane: &Path, marks: &Marks, pods: &Path) -> io::Result<Child> {
    let mut command = Command::new(graylane);
    command
        .arg(NAME)
        .arg(marks.start())
        .arg(pods)
        .env_clear()
        .current_dir("/");
    // A later start of the pocket ends one that was stopped, and so did not see the end of this one.
    command.env(leftovers::VARIABLE, format!("{}guard", marks.state()));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Keeps a guard at work until `unused`.
pub async fn keep(graylane: PathBuf, marks: Marks, pods: PathBuf, unused: CancellationToken) {
    loop {
        match start(&graylane, &marks, &pods) {
            Ok(mut guard) => {
                // Held: its end is what the guard waits for.
                let pipe = guard.stdin.take();
                if unused.run_until_cancelled(guard.wait()).await.is_none() {
                    drop(pipe);
                    let _ = guard.wait().await;
                    return;
                }
                tracing::warn!("the guard of the containers has ended, and is started again");
            }
            Err(error) => {
                tracing::warn!(%error, "no guard: what pocket and a shim leave when both are killed at once stays")
            }
        }
        if unused
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}
