//! The shim's promise: nothing it started outlives the pipe that pocket holds.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn shim(args: &[&str], script: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command
        .arg("__shim")
        .args(args)
        .args(["--", "sh", "-c", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits without closing the pipe, which would be pocket's end.
fn code(mut child: Child) -> Option<i32> {
    let _pipe = child.stdin.take();
    child.wait().unwrap().code()
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
}

/// Neither there nor a zombie.
fn gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_mins(1);
    while !fact() {
        assert!(Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn exit_codes_pass_and_signals_become_128_plus() {
    for (script, want) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        assert_eq!(code(shim(&[], script)), Some(want), "{script}");
    }
    let mut missing = Command::new(env!("CARGO_BIN_EXE_graylane"))
        .args(["__shim", "--", "/no/such/program"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    missing
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(code(missing), Some(128));
    assert!(text.contains("cannot start /no/such/program"), "{text}");
}

#[test]
fn the_end_of_the_pipe_takes_the_whole_tree() {
    // A child, one in the background that ignores TERM, and one in a session of its own.
    let script = "trap '' TERM; sleep 1000 & echo $!; setsid sh -c 'echo $$; sleep 1000' & echo $$; wait; wait";
    let mut child = shim(&["--wait-ms", "50"], script);
    let mut out = lines(&mut child);
    let pids: Vec<String> = (0..3).map(|_| out.next().unwrap()).collect();
    assert!(pids.iter().all(|pid| !gone(pid)), "{pids:?}");
    drop(child.stdin.take());
    until("the shim ends", || child.try_wait().unwrap().is_some());
    until("all are gone", || pids.iter().all(|pid| gone(pid)));
}

#[test]
fn nothing_is_left_behind_by_a_process_that_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    let up = up.to_str().unwrap();
    // It ends once the one in a session of its own is up.
    let script = format!(
        "mkfifo {up}; sleep 1000 & echo $!; setsid sh -c 'echo $$; echo > {up}; exec sleep 1000' & read x < {up}; exit 3"
    );
    let mut child = shim(&[], &script);
    let pids: Vec<String> = lines(&mut child).take(2).collect();
    assert_eq!(code(child), Some(3));
    until("all are gone", || pids.iter().all(|pid| gone(pid)));
}

#[test]
fn term_is_passed_on_by_byte_and_by_signal() {
    for by_signal in [false, true] {
        let mut child = shim(
            &[],
            "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done",
        );
        let mut out = lines(&mut child);
        assert_eq!(out.next().as_deref(), Some("up"));
        if by_signal {
            Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status()
                .unwrap();
        } else {
            child.stdin.as_mut().unwrap().write_all(b"T").unwrap();
        }
        assert_eq!(out.next().as_deref(), Some("bye"));
        assert_eq!(code(child), Some(5));
    }
}

#[test]
fn one_lock_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("lock");
    let lock = lock.to_str().unwrap();
    let mut first = shim(
        &["--lock", lock, "--wait-ms", "10"],
        "trap '' TERM; echo first; while :; do sleep 0.01; done",
    );
    assert_eq!(lines(&mut first).next().as_deref(), Some("first"));
    until("its session is named", || {
        std::fs::read_to_string(lock).unwrap().ends_with('\n')
    });
    let mut second = shim(&["--lock", lock], "echo second");
    let mut third = shim(&["--lock", lock], "echo third");
    drop(third.stdin.take());
    assert_eq!(
        third.wait().unwrap().code(),
        Some(143),
        "whose pocket dies while it waits never starts"
    );
    assert!(second.try_wait().unwrap().is_none(), "it waits");
    drop(first.stdin.take());
    assert_eq!(lines(&mut second).next().as_deref(), Some("second"));
    assert_eq!(code(second), Some(0));
    assert_eq!(
        std::fs::read_to_string(lock).unwrap(),
        "",
        "no session is named any more"
    );
}
