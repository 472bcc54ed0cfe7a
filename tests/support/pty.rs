//! A real terminal for tests: the program in a pty, its bytes drawn by vt100, keys pressed only on facts seen.

use std::{
    io::{Read, Write},
    num::NonZero,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Nothing that is waited for takes this long, also on a slow machine under load.
const LIMIT: Duration = Duration::from_mins(2);

/// Asks a terminal for its state.
const STATE_QUERY: &[u8] = b"\x1b[5n";

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a screen has cells")
}

/// How many of the bytes belong to whole frames: what a synchronized update has begun is seen when it ends.
fn frames(bytes: &[u8]) -> usize {
    const BEGIN: &[u8] = b"\x1b[?2026h";
    const END: &[u8] = b"\x1b[?2026l";
    let last = |marker: &[u8]| bytes.windows(marker.len()).rposition(|w| w == marker);
    match (last(BEGIN), last(END)) {
        (Some(begin), end) if end.is_none_or(|end| end < begin) => begin,
        // The marker itself may come in two reads.
        _ => {
            let begins = |n: &usize| bytes.ends_with(&BEGIN[..*n]);
            bytes.len() - (1..BEGIN.len()).rev().find(begins).unwrap_or(0)
        }
    }
}

/// A running program and what its screen shows.
pub struct Pty {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
}

impl Pty {
    /// Starts `program args…` on a screen of that size.
    pub fn start(
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
        rows: u16,
        cols: u16,
    ) -> Self {
        let pair = native_pty_system()
            .openpty(PtySize {
                rows,
                cols,
                pixel_width: 0,
                pixel_height: 0,
            })
            .expect("a pty can be opened");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        for name in [
            "NO_COLOR",
            "COLORTERM",
            "SSH_CONNECTION",
            "SSH_TTY",
            "KUBECONFIG",
        ] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        // A panic is told in a line, whatever whoever runs the tests has asked for: a backtrace scrolls it away.
        command.env("RUST_BACKTRACE", "0");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair
            .slave
            .spawn_command(command)
            .expect("the program starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("the pty can be read");
        let keys = pair.master.take_writer().expect("the pty can be written");
        let keys = Arc::new(Mutex::new(keys));
        let reports = Arc::clone(&keys);
        let screen = Arc::new((
            Mutex::new(vt100::Parser::new(cells(rows), cells(cols), 0)),
            Condvar::new(),
        ));
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            let (mut waiting, mut asked): (Vec<u8>, Vec<u8>) = (vec![], vec![]);
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                waiting.extend_from_slice(&bytes[..n]);
                let whole: Vec<u8> = waiting.drain(..frames(&waiting)).collect();
                shared.0.lock().expect("no reader panics").process(&whole);
                shared.1.notify_all();
                // As terminals do, it reports its state where it is asked to.
                asked.extend_from_slice(&bytes[..n]);
                let queries = asked.windows(STATE_QUERY.len());
                let queries = queries.filter(|w| *w == STATE_QUERY).count();
                asked.drain(..asked.len().saturating_sub(STATE_QUERY.len() - 1));
                let report = b"\x1b[0n".repeat(queries);
                let _ = reports.lock().expect("no writer panics").write_all(&report);
            }
            shared.0.lock().expect("no reader panics").process(&waiting);
            shared.1.notify_all();
        });
        Self {
            child,
            master: pair.master,
            keys,
            screen,
        }
    }

    /// Presses keys, as bytes.
    pub fn press(&mut self, keys: &str) {
        let mut to = self.keys.lock().expect("no writer panics");
        to.write_all(keys.as_bytes()).expect("the pty takes keys");
        to.flush().expect("the pty takes keys");
    }

    /// The screen's text now.
    pub fn text(&self) -> String {
        self.screen
            .0
            .lock()
            .expect("no reader panics")
            .screen()
            .contents()
    }

    /// Whether the alternate screen is on.
    pub fn alternate(&self) -> bool {
        self.screen
            .0
            .lock()
            .expect("no reader panics")
            .screen()
            .alternate_screen()
    }

    /// Whether the program has asked for the mouse.
    pub fn reports_mouse(&self) -> bool {
        let parser = self.screen.0.lock().expect("no reader panics");
        parser.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }

    /// Clicks on a place, counted from 0, as a terminal reports it.
    pub fn click(&mut self, column: usize, row: usize) {
        let (column, row) = (column + 1, row + 1);
        self.press(&format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"));
    }

    /// Waits until the screen fulfils `seen`; panics with the whole screen when it never does.
    #[track_caller]
    pub fn wait(&self, what: &str, seen: impl Fn(&str) -> bool) -> String {
        self.until(what, |screen| seen(&screen.contents()))
    }

    /// Waits until the alternate screen is left.
    #[track_caller]
    pub fn given_back(&self) {
        self.until("the screen to be given back", |screen| {
            !screen.alternate_screen()
        });
    }

    #[track_caller]
    fn until(&self, what: &str, seen: impl Fn(&vt100::Screen) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut parser = self.screen.0.lock().expect("no reader panics");
        loop {
            let text = parser.screen().contents();
            if seen(parser.screen()) {
                return text;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                panic!("waited {LIMIT:?} for {what}; the screen shows:\n{text}")
            };
            parser = self
                .screen
                .1
                .wait_timeout(parser, left.min(Duration::from_millis(200)))
                .expect("no reader panics")
                .0;
        }
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub fn see(&self, text: &str) -> String {
        self.wait(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Changes the terminal's size.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.screen
            .0
            .lock()
            .expect("no reader panics")
            .screen_mut()
            .set_size(cells(rows), cells(cols));
        self.master
            .resize(PtySize {
                rows,
                cols,
                pixel_width: 0,
                pixel_height: 0,
            })
            .expect("the pty takes a size");
    }

    /// The process id.
    pub fn pid(&self) -> rustix::process::Pid {
        let id = self.child.process_id().and_then(|id| id.try_into().ok());
        id.and_then(rustix::process::Pid::from_raw)
            .expect("it runs")
    }

    /// Waits for the end; true when the exit code was 0.
    #[track_caller]
    pub fn ended(&mut self) -> bool {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.success();
            }
            assert!(
                Instant::now() < deadline,
                "still running after {LIMIT:?}; the screen shows:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
