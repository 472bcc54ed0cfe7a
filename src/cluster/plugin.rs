//! `graylane __credential CMD ARGS…`: a login plugin in a session of its own, so that it has no terminal to draw on
//! (not even by `/dev/tty`), and with an end: one that waits for a person would hold everything up.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// The hidden subcommand.
pub const NAME: &str = "__credential";
/// How long a plugin may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the plugin; its answer goes to standard output, its words to standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let Some(program) = args.next() else {
        eprintln!("no command");
        return ExitCode::FAILURE;
    };
    // Fails only for the leader of a process group, which a child of ours is not.
    let _ = rustix::process::setsid();
    let started = Command::new(&program).args(args).process_group(0).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(why) => {
            eprintln!("{}: {why}", program.to_string_lossy());
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Ok(None) if began.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                eprintln!("no answer within {} s", LIMIT.as_secs());
                return ExitCode::FAILURE;
            }
        }
    }
}
