//! The cockpit on a line that takes 2 kB/s: how long a key needs until its effect is on the screen, and how much is
//! written while nobody presses one.
//!
//!     cargo bench --bench slow_line [-- PROGRAM]
//!
//! The program runs in a pty from which so many bytes are read in small pieces; what the kernel holds in between is
//! part of the line. A terminal *answers* when it reports its state where it is asked to, as terminals do; a *silent*
//! one never says how much it has taken.
//!
//! Before the line was watched, and after (debug builds, two busy cores; answering terminals):
//!
//! | | before | after |
//! |---|---|---|
//! | 120x36: median key, worst key | 958 ms, 7107 ms | 77 ms, 198 ms |
//! | 80x24: median key, worst key | 810 ms, 4547 ms | 69 ms, 557 ms |
//! | 120x36, 80x24: first screen | 9.7 s, 5.9 s | 3.6 s, 3.0 s |
//! | 120x36, 80x24: at rest with the demo's traffic | 202 B/s, 143 B/s | 105 B/s, 48 B/s |
//! | 120x36: at rest without traffic, 60 s | 8 B/s | 0 bytes |
//!
//! A silent terminal has the same median, and at worst 2.4 s where much was drawn just before.

use std::{
    io::{BufRead, BufReader, Read, Write},
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

const SIZES: [(u16, u16); 2] = [(120, 36), (80, 24)];
/// Bytes that the line takes in a second, and at once.
const RATE: usize = 2_000;
const PIECE: usize = 64;
/// How long output at rest is counted.
const REST: Duration = Duration::from_mins(1);
/// No key takes longer, not even on a line that is full.
const LIMIT: Duration = Duration::from_mins(1);
/// Asks the terminal for its state, and what it answers when all is well.
const STATE_QUERY: &[u8] = b"\x1b[5n";
const STATE_REPORT: &[u8] = b"\x1b[0n";

fn main() {
    // `cargo test` runs this file too.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let named = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let program = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_graylane").into());
    let state = tempfile::tempdir().expect("a folder");
    let here = Bench {
        program: std::fs::canonicalize(program).expect("the program"),
        state: state.path().into(),
    };
    let mut demo = here.start(&["demo", "--headless"], true);
    for size in SIZES {
        for answers in [true, false] {
            here.press_keys(size, answers);
        }
    }
    for size in SIZES {
        here.rest(size, "with the demo's traffic");
    }
    end(&mut demo);
    // The demo takes its traffic with it.
    let mut pocket = here.start(&["pocket", "serve"], true);
    let mut engine = here.start(&["engine", "--no-install"], false);
    for size in SIZES {
        here.rest(size, "without traffic");
    }
    end(&mut engine);
    end(&mut pocket);
}

struct Bench {
    program: PathBuf,
    state: PathBuf,
}

impl Bench {
    /// Starts a part of graylane that has no screen; perhaps waits until it says that it is ready.
    fn start(&self, args: &[&str], waits: bool) -> Child {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(&self.state).args(args);
        command.env("XDG_CONFIG_HOME", &self.state);
        command.env_remove("KUBECONFIG");
        let output = if waits { Stdio::piped() } else { Stdio::null() };
        command.stdout(output).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        if let Some(output) = child.stdout.take() {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            assert!(lines.any(|line| line == "ready"), "{args:?} ended");
            std::thread::spawn(move || lines.for_each(drop));
        }
        child
    }

    fn press_keys(&self, size: (u16, u16), answers: bool) {
        let mut line = Line::open(&self.program, &self.state, size, answers);
        let first = line.wait(|s| s.contents().contains("tagged"));
        // Whatever the first frame has left in the line.
        std::thread::sleep(Duration::from_secs(10));
        let mut took: Vec<(Duration, &str)> = vec![];
        let steps: Vec<Step> = (0..3).flat_map(|_| STEPS).collect();
        for (i, step) in steps.iter().enumerate() {
            // At any moment between two frames.
            std::thread::sleep(Duration::from_millis(1_200 + i as u64 * 137 % 700));
            took.push((line.press(step), step.name));
        }
        took.sort();
        let (worst, name) = took.last().expect("some");
        println!(
            "{:>3}x{} {}: first screen {:>5} ms, a key's effect: median {:>5} ms, worst {:>5} ms ({name}) of {}",
            size.0,
            size.1,
            if answers { "answers" } else { "silent " },
            first.as_millis(),
            took[took.len() / 2].0.as_millis(),
            worst.as_millis(),
            took.len()
        );
        if std::env::var_os("SLOW_LINE_EACH").is_some() {
            for (took, name) in took {
                println!("    {:>6} ms {name}", took.as_millis());
            }
        }
        line.quit();
    }

    fn rest(&self, size: (u16, u16), what: &str) {
        let mut line = Line::open(&self.program, &self.state, size, true);
        line.wait(|s| s.contents().contains("1 Apps") && s.contents().contains("live"));
        // What was seen in the last minute is told for a minute.
        std::thread::sleep(Duration::from_secs(75));
        let before = line.taken();
        std::thread::sleep(REST);
        println!(
            "{:>3}x{} at rest {what}: {} bytes in {} s",
            size.0,
            size.1,
            line.taken() - before,
            REST.as_secs()
        );
        line.quit();
    }
}

fn end(child: &mut Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    child.wait().expect("it ends");
}

/// A key, and how its effect is seen on the screens before and after it.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    keys: &'static str,
    seen: fn(&str, &str) -> bool,
}

const fn step(name: &'static str, keys: &'static str, seen: fn(&str, &str) -> bool) -> Step {
    Step { name, keys, seen }
}

const STEPS: [Step; 16] = [
    step("next app", "j", |b, a| cursor(a, APPS) > cursor(b, APPS)),
    step("next app", "j", |b, a| cursor(a, APPS) > cursor(b, APPS)),
    step("previous app", "k", |b, a| {
        cursor(a, APPS) < cursor(b, APPS)
    }),
    step("help", "?", |_, a| a.contains("━ Keys ━")),
    step("help closed", "\x1b", |_, a| !a.contains("━ Keys ━")),
    step("palette", ":", |_, a| a.contains("Do or go to")),
    step("a letter", "p", |_, a| a.contains("┃ : p")),
    step("a letter", "r", |_, a| a.contains("┃ : pr")),
    step("palette closed", "\x1b", |_, a| !a.contains("Do or go to")),
    step("environments", "2", footer_changed),
    step("next environment", "j", |b, a| {
        cursor(a, ENVIRONMENTS) > cursor(b, ENVIRONMENTS)
    }),
    step("trace", "5", footer_changed),
    step("rollout", "3", footer_changed),
    step("lanes", "4", footer_changed),
    step("apps", "1", footer_changed),
    step("previous app", "k", |b, a| {
        cursor(a, APPS) < cursor(b, APPS)
    }),
];

const APPS: &str = "1 Apps";
const ENVIRONMENTS: &str = "2 Environments";

/// The line of a pane's selection, from the pane's title.
fn cursor(screen: &str, pane: &str) -> Option<usize> {
    let below = screen.lines().skip_while(|line| !line.contains(pane));
    below.into_iter().position(|line| line.starts_with("│▌"))
}

fn footer_changed(before: &str, after: &str) -> bool {
    before.lines().last() != after.lines().last()
}

/// What the reader of the line shares.
#[derive(Default)]
struct Seen {
    screen: Mutex<(Option<vt100::Parser>, usize)>,
    changed: Condvar,
}

/// A cockpit at the other end of a slow line.
struct Line {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    seen: Arc<Seen>,
    begun: Instant,
    _master: Box<dyn MasterPty + Send>,
}

impl Line {
    fn open(program: &Path, state: &Path, (cols, rows): (u16, u16), answers: bool) -> Self {
        let size = PtySize {
            rows,
            cols,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system()
            .openpty(size)
            .expect("a terminal can be opened");
        let mut command = CommandBuilder::new(program);
        command.args(["--state", state.to_str().expect("UTF-8")]);
        for (name, value) in [
            ("TERM", "xterm-256color"),
            ("COLORTERM", "truecolor"),
            ("LANG", "C.UTF-8"),
            ("XDG_CONFIG_HOME", state.to_str().expect("UTF-8")),
        ] {
            command.env(name, value);
        }
        command.env_remove("KUBECONFIG");
        command.env_remove("NO_COLOR");
        let begun = Instant::now();
        let child = pair
            .slave
            .spawn_command(command)
            .expect("the program starts");
        drop(pair.slave);
        let output = pair.master.try_clone_reader().expect("it can be read");
        let keys = pair.master.take_writer().expect("it can be written");
        let keys = Arc::new(Mutex::new(keys));
        let side = |n| NonZeroU16::new(n).expect("some");
        let seen = Arc::new(Seen::default());
        seen.screen.lock().expect("no panic").0 =
            Some(vt100::Parser::new(side(rows), side(cols), 0));
        let (shared, replies) = (Arc::clone(&seen), answers.then(|| Arc::clone(&keys)));
        std::thread::spawn(move || carry_bytes(output, &shared, replies.as_deref()));
        Self {
            child,
            keys,
            seen,
            begun,
            _master: pair.master,
        }
    }

    /// Presses a key; how long its effect took.
    fn press(&mut self, step: &Step) -> Duration {
        let before = self.text();
        let begun = Instant::now();
        self.type_keys(step.keys);
        let seen = self.wait(|screen| (step.seen)(&before, &screen.contents()));
        let _ = seen;
        begun.elapsed()
    }

    fn type_keys(&self, keys: &str) {
        let mut to = self.keys.lock().expect("no panic");
        to.write_all(keys.as_bytes()).expect("it takes keys");
        to.flush().expect("it takes keys");
    }

    fn text(&self) -> String {
        let screen = self.seen.screen.lock().expect("no panic");
        screen.0.as_ref().expect("set").screen().contents()
    }

    fn taken(&self) -> usize {
        self.seen.screen.lock().expect("no panic").1
    }

    /// Waits until the screen is like that; the time since the start.
    fn wait(&mut self, is: impl Fn(&vt100::Screen) -> bool) -> Duration {
        let mut screen = self.seen.screen.lock().expect("no panic");
        let begun = Instant::now();
        while !is(screen.0.as_ref().expect("set").screen()) {
            assert!(
                begun.elapsed() < LIMIT,
                "waited in vain; the screen shows\n{}",
                screen.0.as_ref().expect("set").screen().contents()
            );
            screen = self
                .seen
                .changed
                .wait_timeout(screen, Duration::from_millis(500))
                .expect("no panic")
                .0;
        }
        self.begun.elapsed()
    }

    fn quit(mut self) {
        self.type_keys("q");
        self.child.wait().expect("it ends");
    }
}

/// Takes from the program what the line carries, and shows it when it has arrived.
fn carry_bytes(
    mut output: Box<dyn Read + Send>,
    seen: &Seen,
    replies: Option<&Mutex<Box<dyn Write + Send>>>,
) {
    let mut bytes = [0; PIECE];
    let mut last: Vec<u8> = vec![];
    let mut free = Instant::now();
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        free = free.max(Instant::now()) + Duration::from_secs(1) * n as u32 / RATE as u32;
        std::thread::sleep(free.saturating_duration_since(Instant::now()));
        let mut screen = seen.screen.lock().expect("no panic");
        screen.1 += n;
        screen.0.as_mut().expect("set").process(&bytes[..n]);
        drop(screen);
        seen.changed.notify_all();
        last.extend_from_slice(&bytes[..n]);
        let asked = last.windows(STATE_QUERY.len());
        let asked = asked.filter(|w| *w == STATE_QUERY).count();
        if let Some(keys) = replies {
            let answer = STATE_REPORT.repeat(asked);
            let _ = keys.lock().expect("no panic").write_all(&answer);
        }
        last.drain(..last.len().saturating_sub(STATE_QUERY.len() - 1));
    }
}
