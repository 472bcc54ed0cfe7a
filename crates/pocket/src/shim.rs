//! Process between pocket and a container's process, so that no process outlives its pocket.
//!
//! `PROGRAM __shim [--lock FILE] [--wait-ms N] [--inherit WORD] -- CMD ARGS…`: CMD runs in its own
//! session. Standard input is a pipe from pocket: `T` sends TERM to CMD's process group and `K`
//! sends KILL. The end of the pipe means that pocket is gone, for whatever reason: the shim sends
//! TERM, waits shortly, and sends KILL. Descendants that left the group are re-parented to the shim
//! (subreaper) and killed with it.
//!
//! The lock keeps two runs of one container apart, even across a restart of pocket; while CMD runs,
//! the lock file contains its session. The exit code is that of CMD, or 128 + signal.
//!
//! # Which process ends what
//!
//! | killed (KILL) | what ends the rest |
//! |---|---|
//! | CMD | the shim: CMD's group, then re-parented descendants |
//! | pocket | each shim, at the end of its pipe |
//! | the shim | the kernel ends CMD (death signal), the kubelet [the rest](super::orphans) |
//! | pocket and shims at once | the kernel ends CMD, the [`guard`](super::guard) the rest |
//! | pocket, shims and guard at once | the kernel ends CMD, the next start of pocket the rest |
//!
//! A stopped process (STOP) is killed as well; a stopped shim is continued, and killed if it does
//! not react. Two kinds of process escape: one that lost its shim after it had left CMD's session,
//! its parents *and* the environment it was given; and one that runs as another user (through a
//! set-uid program), which only its shim can find.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::inherited::InheritedLimits;
use super::orphans::Session;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__shim";
/// Hidden subcommand between the shim and CMD: prepares its own process, then becomes CMD.
pub const EXEC_SUBCOMMAND: &str = "__exec";
/// Exit code when CMD could not be started; the message is on standard error.
pub const CANNOT_START: u8 = 128;

struct Args {
    lock: Option<OsString>,
    wait: Duration,
    inherit: Option<InheritedLimits>,
    command: Vec<OsString>,
}

fn parse_args(args: impl IntoIterator<Item = OsString>) -> Option<Args> {
    let mut parsed = Args {
        lock: None,
        wait: Duration::from_millis(500),
        inherit: None,
        command: vec![],
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--lock") => parsed.lock = args.next(),
            Some("--wait-ms") => {
                parsed.wait = Duration::from_millis(args.next()?.to_str()?.parse().ok()?);
            }
            Some("--inherit") => {
                parsed.inherit = Some(InheritedLimits::from_word(args.next()?.to_str()?)?);
            }
            Some("--") => {
                parsed.command = args.collect();
                break;
            }
            _ => return None,
        }
    }
    (!parsed.command.is_empty()).then_some(parsed)
}

/// Pid of the child. Locked while the child is being started, so that signals wait until then.
static CHILD: Mutex<Option<Pid>> = Mutex::new(None);

fn signal_child(signal: Signal) {
    let child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
    match *child {
        // Before CMD runs there is no group yet, only the process that will lead it.
        Some(pid) => drop(
            rustix::process::kill_process_group(pid, signal)
                .or_else(|_| rustix::process::kill_process(pid, signal)),
        ),
        // Nothing runs yet (still waiting for the lock), so there is nothing to wait for.
        None => std::process::exit(128 + signal.as_raw()),
    }
}

/// Obeys pocket until the pipe ends.
fn obey_orders(wait: Duration) {
    let mut byte = [0];
    let mut stdin = std::io::stdin();
    loop {
        match stdin.read(&mut byte) {
            Ok(1) if byte[0] == b'T' => signal_child(Signal::TERM),
            Ok(1) if byte[0] == b'K' => signal_child(Signal::KILL),
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    signal_child(Signal::TERM);
    std::thread::sleep(wait);
    signal_child(Signal::KILL);
}

/// Runs the shim. `args` are the arguments after the subcommand's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(args) = parse_args(args) else {
        eprintln!("{SUBCOMMAND} is for the kubelet's own use");
        return ExitCode::from(2);
    };
    if let Some(inherit) = args.inherit {
        inherit.restore();
    }
    let wait = args.wait;
    std::thread::spawn(move || obey_orders(wait));
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ]) {
        std::thread::spawn(move || signals.forever().for_each(|_| signal_child(Signal::TERM)));
    }
    // Held until this process ends; child processes do not inherit it.
    let mut lock = match args
        .lock
        .map(|path| lock_run_file(Path::new(&path)))
        .transpose()
    {
        Ok(lock) => lock,
        Err(error) => {
            eprintln!("cannot lock the container's run file: {error}");
            return ExitCode::from(CANNOT_START);
        }
    };
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let pid = {
        let mut running = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Command::new("/proc/self/exe");
        step.arg(EXEC_SUBCOMMAND)
            .arg(std::process::id().to_string())
            .args(&args.command);
        match step.stdin(Stdio::null()).spawn() {
            Ok(child) => *running.insert(Pid::from_child(&child)),
            Err(error) => {
                eprintln!("cannot start {}: {error}", args.command[0].display());
                return ExitCode::from(CANNOT_START);
            }
        }
    };
    if let (Some(lock), Some(session)) = (&mut lock, Session::from_leader(pid)) {
        // If this fails, fewer processes are found should this shim be killed; CMD runs anyway.
        let _ = lock.write_all(session.to_line().as_bytes());
    }
    let code = reap_until(pid);
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    kill_descendants();
    if let Some(lock) = &lock {
        // The session has ended, and its id may be reused.
        let _ = lock.set_len(0);
    }
    ExitCode::from(code)
}

/// Becomes CMD in a new session; the kernel kills it when PARENT dies. `args` are `PARENT CMD
/// ARGS…`.
pub fn exec_command(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let parent = args
        .next()
        .and_then(|p| Pid::from_raw(p.to_str()?.parse().ok()?));
    let (Some(parent), Some(program)) = (parent, args.next()) else {
        eprintln!("{EXEC_SUBCOMMAND} is for the kubelet's own use");
        return ExitCode::from(2);
    };
    let prepared = rustix::process::setsid()
        .and_then(|_| rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))
        .map_err(std::io::Error::from);
    let error = match prepared {
        // The parent may have been killed before the death signal was set.
        Ok(()) if rustix::process::getppid() != Some(parent) => {
            return ExitCode::from(CANNOT_START);
        }
        Ok(()) => Command::new(&program).args(args).exec(),
        Err(error) => error,
    };
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::from(CANNOT_START)
}

/// Opens and empties the file as soon as no other run holds its lock.
fn lock_run_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    file.set_len(0)?;
    Ok(file)
}

/// Reaps all child processes until `main` ends; returns its exit code.
fn reap_until(main: Pid) -> u8 {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let code = status
                    .exit_status()
                    .or(status.terminating_signal().map(|s| 128 + s));
                return code.and_then(|c| u8::try_from(c).ok()).unwrap_or(u8::MAX);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return u8::MAX,
        }
    }
}

/// Kills descendants that were re-parented to this process, until none is left.
fn kill_descendants() {
    loop {
        for child in list_children() {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

fn list_children() -> Vec<Pid> {
    let me = std::process::id();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{me}/task")) else {
        return vec![];
    };
    let lists = tasks
        .flatten()
        .filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    let all: Vec<String> = lists.collect();
    all.iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn arguments() {
        let args = parse_args(words(
            "--lock /x --wait-ms 20 --inherit 22:1024 -- sh -c --",
        ))
        .unwrap();
        assert_eq!(args.inherit, InheritedLimits::from_word("22:1024"));
        assert_eq!(args.lock, Some("/x".into()));
        assert_eq!(args.wait, Duration::from_millis(20));
        assert_eq!(args.command, words("sh -c --"));
        for bad in [
            "",
            "--",
            "sh",
            "--wait-ms x -- sh",
            "--lock",
            "--inherit x -- sh",
        ] {
            assert!(parse_args(words(bad)).is_none(), "{bad}");
        }
    }
}
