//! The real terminal: one guard takes it, and every way out restores it (quit, error, panic,
//! SIGTERM, SIGHUP, suspend). It is given no more than its line takes.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    process::{self, ExitStatus},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    Command,
    clipboard::CopyToClipboard,
    cursor::Show,
    event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange},
    execute,
    style::{Attribute, SetAttribute, force_color_output},
    terminal::{
        EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode,
    },
};
use futures::stream;
use jiff::Timestamp;
use ratatui::Terminal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    effect::ForegroundCommand,
    model::Model,
    options::Options,
    run::{EffectHandler, PacedBackend, Ports, RunError, TerminalControl, run_loop},
};
use crate::domain::world::ShownWorlds;

mod foreground;
mod frame_backend;
mod input;
mod line;
mod pen;
mod screen_copy;

use foreground::{SharedInput, is_lent, run_to_end};
pub use frame_backend::FrameBackend;

/// Frames in a second at most.
const MOST_FRAMES: u32 = 30;

static TAKEN: AtomicBool = AtomicBool::new(false);
/// The terminal reports the mouse while it is taken.
static MOUSE: AtomicBool = AtomicBool::new(false);
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Restores the terminal when dropped.
struct Guard;

impl Guard {
    fn take_terminal(mouse: bool) -> io::Result<Self> {
        // The theme handles NO_COLOR: crossterm's own handling also drops bold and reverse.
        force_color_output(true);
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        MOUSE.store(mouse, Ordering::SeqCst);
        let guard = Self;
        set_up_terminal(&mut io::stdout(), mouse)?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Restores the terminal; does nothing the second time.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Errors are ignored: the terminal may be gone.
        let _ = disable_raw_mode();
        let _ = restore_terminal(&mut io::stdout(), MOUSE.load(Ordering::SeqCst));
    }
}

/// Switches to the alternate screen, and asks for what is to be reported.
fn set_up_terminal(out: &mut impl Write, mouse: bool) -> io::Result<()> {
    execute!(
        out,
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange
    )?;
    if mouse {
        execute!(out, ReportClicks(true))?;
    }
    Ok(())
}

/// Takes back what [`set_up_terminal`] set, and what a frame may have left.
fn restore_terminal(out: &mut impl Write, mouse: bool) -> io::Result<()> {
    if mouse {
        execute!(out, ReportClicks(false))?;
    }
    execute!(
        out,
        EndSynchronizedUpdate,
        SetAttribute(Attribute::Reset),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    )
}

/// Whether the terminal reports clicks and the wheel, in SGR form. Unlike crossterm's
/// `EnableMouseCapture` it does not ask for every movement, each of which would be sent over the
/// line.
struct ReportClicks(bool);

impl Command for ReportClicks {
    fn write_ansi(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str(if self.0 {
            "\x1b[?1000h\x1b[?1006h"
        } else {
            "\x1b[?1006l\x1b[?1000l"
        })
    }
}

/// Installs a panic hook that restores the terminal, prints the report, and stops the program.
fn on_panic(stop: &CancellationToken) {
    static ONCE: Once = Once::new();
    let stop = stop.clone();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if TAKEN.load(Ordering::SeqCst) {
                PANICKED.store(true, Ordering::SeqCst);
                give_back();
                stop.cancel();
            }
            before(info);
        }));
    });
}

/// Clipboard and job control of the real terminal.
struct Tty {
    input: SharedInput,
    mouse: bool,
}

impl TerminalControl for Tty {
    fn run_foreground(&mut self, command: &ForegroundCommand) -> io::Result<ExitStatus> {
        self.input.close();
        give_back();
        if let Some(line) = &command.shown {
            // Whoever scrolls back later sees what ran.
            let _ = writeln!(io::stdout(), "{line}");
        }
        let status = run_to_end(process::Command::new(&command.program).args(&command.args));
        // Where that fails the input has ended, and with it the cockpit.
        std::mem::forget(Guard::take_terminal(self.mouse)?);
        self.input.reopen()?;
        status
    }

    fn copy_text(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        // The process continues here after SIGCONT.
        std::mem::forget(Guard::take_terminal(self.mouse)?);
        Ok(())
    }
}

/// Errors of the cockpit.
#[derive(Debug, thiserror::Error)]
pub enum CockpitError {
    /// There is no terminal.
    #[error("the cockpit needs a terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The terminal cannot move the cursor.
    #[error(
        "TERM is {0}: the cockpit cannot be drawn there; `graylane get` tells the same as lines"
    )]
    Plain(String),
    /// The output is not a terminal.
    #[error("the cockpit needs a terminal to draw on; `graylane get` tells the same as lines")]
    Nowhere,
    /// The loop failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs the cockpit on this process's terminal until the user quits or `stop` is cancelled.
pub async fn run_cockpit(
    options: Options,
    worlds: watch::Receiver<ShownWorlds>,
    outside: Arc<dyn EffectHandler>,
    stop: CancellationToken,
) -> Result<(), CockpitError> {
    check_terminal()?;
    on_panic(&stop);
    let guard = Guard::take_terminal(options.mouse)?;
    // All signals end the cockpit in the same way.
    for kind in [
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::interrupt(),
    ] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            loop {
                select_first(signals.recv(), stop.cancelled()).await;
                // Ctrl-C is for the program that has the terminal.
                if kind != SignalKind::interrupt() || !is_lent() || stop.is_cancelled() {
                    break;
                }
            }
            stop.cancel();
        });
    }
    let (input, mouse) = (SharedInput::open()?, options.mouse);
    // GNU screen alone fills what is erased with the default background.
    let erases_in_colour = !std::env::var("TERM").is_ok_and(|term| term.starts_with("screen"));
    let backend = FrameBackend::paced(io::stdout(), input.reports(), erases_in_colour)?;
    let mut terminal = Terminal::new(backend)?;
    let mut model = Model::new(options, Timestamp::now());
    let ports = Ports {
        input: input.clone(),
        worlds,
        outside,
        host: Tty {
            input: input.clone(),
            mouse,
        },
        stop: stop.clone(),
        fps: MOST_FRAMES,
        clock: Timestamp::now,
    };
    let ended = run_loop(&mut terminal, ports, &mut model).await;
    if !PANICKED.load(Ordering::SeqCst) {
        // The shell must not read the answer to our last query.
        terminal.backend_mut().await_answers().await;
    }
    drop(input);
    drop(terminal);
    drop(guard);
    stop.cancel();
    if PANICKED.load(Ordering::SeqCst) {
        return Err(RunError::Panicked.into());
    }
    ended.map(drop).map_err(CockpitError::from)
}

/// Checks whether this process's terminal can show the cockpit.
pub fn check_terminal() -> Result<(), CockpitError> {
    check_drawable(
        std::env::var("TERM").ok().as_deref(),
        io::stdout().is_terminal(),
    )
}

/// Checks the terminal in advance, so that no unsupported escape sequences are printed.
fn check_drawable(term: Option<&str>, is_terminal: bool) -> Result<(), CockpitError> {
    match term {
        _ if !is_terminal => Err(CockpitError::Nowhere),
        Some(plain @ ("dumb" | "unknown")) => Err(CockpitError::Plain(plain.into())),
        _ => Ok(()),
    }
}

async fn select_first<T>(a: impl Future<Output = T>, b: impl Future<Output = ()>) {
    tokio::select! {
        _ = a => {}
        () = b => {}
    }
}

/// Turns SIGTSTP into Ctrl-Z. After SIGCONT the screen may hold other output, so it is redrawn.
fn suspend_events()
-> io::Result<impl futures::Stream<Item = io::Result<crossterm::event::Event>> + Send + Unpin> {
    use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
    let stop = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?;
    let go = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    let key = || Event::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL));
    let stops = stream::unfold(stop, move |mut s| async move {
        s.recv().await.map(|()| (Ok(key()), s))
    });
    let goes = stream::unfold(go, |mut s| async move {
        s.recv().await.map(|()| (Ok(Event::FocusGained), s))
    });
    Ok(stream::select(Box::pin(stops), Box::pin(goes)))
}

#[cfg(test)]
mod tests {
    use super::{check_drawable, restore_terminal, set_up_terminal};

    #[test]
    fn the_mouse_is_reported_only_on_request() {
        let written = |mouse| {
            let (mut start, mut end) = (vec![], vec![]);
            set_up_terminal(&mut start, mouse).unwrap();
            restore_terminal(&mut end, mouse).unwrap();
            [start, end].map(|bytes| String::from_utf8(bytes).unwrap())
        };
        // All modes of mouse reports and of their form.
        let modes = [
            "9", "1000", "1001", "1002", "1003", "1005", "1006", "1015", "1016",
        ];
        let said = |text: &str, end: char| {
            let is_said = |mode: &&str| text.contains(&format!("\x1b[?{mode}{end}"));
            modes.into_iter().filter(is_said).collect::<Vec<_>>()
        };
        let [start, end] = written(false);
        for text in [&start, &end] {
            assert!(said(text, 'h').is_empty() && said(text, 'l').is_empty());
        }
        let [start, end] = written(true);
        assert_eq!(said(&start, 'h'), ["1000", "1006"]);
        assert_eq!(said(&end, 'l'), ["1000", "1006"]);
        assert!(said(&start, 'l').is_empty() && said(&end, 'h').is_empty());
    }

    #[test]
    fn where_nothing_can_be_drawn_a_sentence_says_so() {
        assert!(
            check_drawable(Some("xterm-256color"), true).is_ok()
                && check_drawable(None, true).is_ok()
        );
        assert!(
            check_drawable(Some("dumb"), true)
                .unwrap_err()
                .to_string()
                .starts_with("TERM is dumb")
        );
        assert!(
            check_drawable(Some("xterm"), false)
                .unwrap_err()
                .to_string()
                .contains("needs a terminal")
        );
    }
}
