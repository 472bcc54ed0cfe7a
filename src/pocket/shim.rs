//! The process between pocket and a container's process, so that nothing outlives its pocket.
//!
//! `graylane __shim [--lock FILE] [--wait-ms N] -- CMD ARGS…`: CMD runs in its own process group. Standard input is a
//! pipe from pocket: `T` sends TERM to the group, `K` KILL, and its end means that pocket is gone, however it went:
//! TERM, a short wait, KILL. Grandchildren that left the group come back to the shim (subreaper) and go with it. The
//! lock keeps two runs of one container apart, also across a restart of pocket. Exit code: CMD's, or 128 + signal.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The hidden subcommand.
pub const NAME: &str = "__shim";
/// CMD could not be started; its message is on standard error.
pub const CANNOT_START: u8 = 128;

struct Args {
    lock: Option<OsString>,
    wait: Duration,
    command: Vec<OsString>,
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Args> {
    let mut parsed = Args { lock: None, wait: Duration::from_millis(500), command: vec![] };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--lock") => parsed.lock = args.next(),
            Some("--wait-ms") => parsed.wait = Duration::from_millis(args.next()?.to_str()?.parse().ok()?),
            Some("--") => {
                parsed.command = args.collect();
                break;
            }
            _ => return None,
        }
    }
    (!parsed.command.is_empty()).then_some(parsed)
}

/// Locked while the child is being started: whoever wants to signal it waits until it can be.
static CHILD: Mutex<Option<Pid>> = Mutex::new(None);

fn signal(signal: Signal) {
    let child = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
    match *child {
        Some(pid) => drop(rustix::process::kill_process_group(pid, signal)),
        // Nothing runs yet (waiting for the lock): there is nothing to wait for either.
        None => std::process::exit(128 + signal.as_raw()),
    }
}

/// Obey pocket until the pipe ends.
fn obey(wait: Duration) {
    let mut byte = [0];
    let mut stdin = std::io::stdin();
    loop {
        match stdin.read(&mut byte) {
            Ok(1) if byte[0] == b'T' => signal(Signal::TERM),
            Ok(1) if byte[0] == b'K' => signal(Signal::KILL),
            Ok(1) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    signal(Signal::TERM);
    std::thread::sleep(wait);
    signal(Signal::KILL);
}

/// `args` are those after the subcommand's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(args) = parse(args) else {
        eprintln!("graylane {NAME} is for pocket's own use");
        return ExitCode::from(2);
    };
    let wait = args.wait;
    std::thread::spawn(move || obey(wait));
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ]) {
        std::thread::spawn(move || signals.forever().for_each(|_| signal(Signal::TERM)));
    }
    // Held to the end of this process; a child does not inherit it.
    let _lock = match args.lock.map(|path| File::create(&path).and_then(|f| f.lock().map(|()| f))).transpose() {
        Ok(lock) => lock,
        Err(error) => {
            eprintln!("cannot lock the container's run file: {error}");
            return ExitCode::from(CANNOT_START);
        }
    };
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let (program, rest) = args.command.split_first().expect("parse() wants a command");
    let pid = {
        let mut running = CHILD.lock().unwrap_or_else(PoisonError::into_inner);
        match Command::new(program).args(rest).stdin(Stdio::null()).process_group(0).spawn() {
            Ok(child) => *running.insert(Pid::from_child(&child)),
            Err(error) => {
                eprintln!("cannot start {}: {error}", program.display());
                return ExitCode::from(CANNOT_START);
            }
        }
    };
    let code = reap_until(pid);
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    clear();
    ExitCode::from(code)
}

/// Reap whatever ends here until `main` does.
fn reap_until(main: Pid) -> u8 {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let code = status.exit_status().or(status.terminating_signal().map(|s| 128 + s));
                return code.and_then(|c| u8::try_from(c).ok()).unwrap_or(u8::MAX);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return u8::MAX,
        }
    }
}

/// Kill what came back to us, and what comes back when that dies.
fn clear() {
    loop {
        for child in children() {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let me = std::process::id();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{me}/task")) else {
        return vec![];
    };
    let lists = tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    let all: Vec<String> = lists.collect();
    all.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn arguments() {
        let args = parse(words("--lock /x --wait-ms 20 -- sh -c --")).unwrap();
        assert_eq!(args.lock, Some("/x".into()));
        assert_eq!(args.wait, Duration::from_millis(20));
        assert_eq!(args.command, words("sh -c --"));
        for bad in ["", "--", "sh", "--wait-ms x -- sh", "--lock"] {
            assert!(parse(words(bad)).is_none(), "{bad}");
        }
    }
}
