//! Reads the terminal: keys, pastes, mouse, and the reports of its state. Reports are told at once,
//! not in turn with the keys, because what can be written depends on them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use futures::Stream;
use rustix::fs::{Mode, OFlags};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::AbortOnDropHandle;

/// What the terminal said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// What a person did.
    Event(Event),
    /// It has come to a query of its state.
    StateReport,
}

/// Takes bytes to pieces. Pure; bytes may come in any portions.
#[derive(Debug, Default)]
pub(super) struct InputParser {
    bytes: Vec<u8>,
}

const ESC: u8 = 0x1b;
/// Most bytes of a paste that are kept; what is longer is no text for a field.
const MOST_PASTED: usize = 1024 * 1024;
/// How long an Esc at the end of what was read may still begin a sequence: a line may deliver one in
/// two parts, and the rest of a report must not be taken for keys.
const ESCAPE_WAIT: Duration = Duration::from_millis(25);

impl InputParser {
    /// Takes a portion. An Esc at its end is kept until it is known what it is.
    pub(super) fn parse_bytes(&mut self, portion: &[u8]) -> Vec<Input> {
        let mut all = vec![];
        for byte in portion {
            if *byte == ESC {
                all.extend(self.take_escape());
            }
            self.bytes.push(*byte);
            if self.holds_escape() {
                continue;
            }
            match self.parse_whole() {
                Parsed::More => {}
                Parsed::Dropped => self.bytes.clear(),
                Parsed::Input(input) => {
                    self.bytes.clear();
                    all.push(input);
                }
            }
        }
        all
    }

    /// Whether all that is left is an Esc, which may be a key or the beginning of a sequence.
    fn holds_escape(&self) -> bool {
        self.bytes == [ESC]
    }

    /// The Esc that is left, as a key.
    fn take_escape(&mut self) -> Option<Input> {
        let key = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        let is_left = self.holds_escape();
        is_left.then(|| {
            self.bytes.clear();
            Input::Event(Event::Key(key))
        })
    }

    fn parse_whole(&self) -> Parsed {
        if let Some(report) = parse_report(&self.bytes) {
            return report;
        }
        if self.bytes.len() > MOST_PASTED {
            return Parsed::Dropped;
        }
        match terminput::Event::parse_from(&self.bytes) {
            Ok(None) => Parsed::More,
            Err(_) => Parsed::Dropped,
            Ok(Some(event)) => terminput_crossterm::to_crossterm(event)
                .map_or(Parsed::Dropped, |event| Parsed::Input(Input::Event(event))),
        }
    }
}

enum Parsed {
    More,
    Dropped,
    Input(Input),
}

/// Answers to queries: `CSI 0 n`, and whatever else a terminal reports in this form.
fn parse_report(bytes: &[u8]) -> Option<Parsed> {
    let rest = bytes.strip_prefix(b"\x1b[")?;
    let (last, parameters) = rest.split_last()?;
    let is_parameter = |b: &u8| b.is_ascii_digit() || b"?;$ >".contains(b);
    if parameters.is_empty() || !parameters.iter().all(is_parameter) {
        return None;
    }
    match last {
        b'n' if !parameters.starts_with(b"?") => Some(Parsed::Input(Input::StateReport)),
        b'n' | b'c' | b't' | b'x' | b'y' => Some(Parsed::Dropped),
        _ => None,
    }
}

/// Reads the terminal until it is dropped. A stream of what a person does.
pub(super) struct TerminalReader {
    _task: AbortOnDropHandle<()>,
    events: UnboundedReceiverStream<io::Result<Event>>,
}

impl TerminalReader {
    /// Starts to read the process's terminal, which must be in raw mode. State reports are counted.
    pub(super) fn start(reports: watch::Sender<u64>) -> io::Result<Self> {
        // A description of its own: what is set on it does not concern the shell.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let tty = rustix::fs::open("/dev/tty", flags, Mode::empty())?;
        // Like a pipe, it is read when there is something to read.
        let tty = pipe::Receiver::from_file_unchecked(tty.into())?;
        let resized = signal(SignalKind::window_change())?;
        let (events, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let ended = read_inputs(tty, resized, &events, &reports).await;
            if let Err(why) = ended {
                let _ = events.send(Err(why));
            }
        });
        Ok(Self {
            _task: AbortOnDropHandle::new(task),
            events: UnboundedReceiverStream::new(received),
        })
    }
}

impl Stream for TerminalReader {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

/// Passes on what the terminal says; returns at its end.
async fn read_inputs(
    mut tty: pipe::Receiver,
    mut resized: Signal,
    events: &mpsc::UnboundedSender<io::Result<Event>>,
    reports: &watch::Sender<u64>,
) -> io::Result<()> {
    let mut parser = InputParser::default();
    let mut bytes = [0; 1024];
    let mut escape_until = Instant::now();
    loop {
        let inputs = tokio::select! {
            // What follows an Esc comes before its end, also when both are there at once.
            biased;
            read = tty.read(&mut bytes) => match read? {
                0 => return Ok(()),
                read => {
                    escape_until = Instant::now() + ESCAPE_WAIT;
                    parser.parse_bytes(&bytes[..read])
                }
            },
            Some(()) = resized.recv() => {
                let (columns, rows) = crossterm::terminal::size()?;
                vec![Input::Event(Event::Resize(columns, rows))]
            }
            () = sleep_until(escape_until), if parser.holds_escape() => {
                parser.take_escape().into_iter().collect()
            }
        };
        for input in inputs {
            match input {
                Input::Event(event) => {
                    let _ = events.send(Ok(event));
                }
                Input::StateReport => reports.send_modify(|count| *count += 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of bytes after which nothing follows.
    fn parse(bytes: &[u8]) -> Vec<Input> {
        let mut parser = InputParser::default();
        let mut all = parser.parse_bytes(bytes);
        all.extend(parser.take_escape());
        all
    }

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Input {
        Input::Event(Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_and_reports_are_told_apart() {
        let none = KeyModifiers::NONE;
        assert_eq!(
            parse(b"j\x1b[0n\x1b[A\x1b[?62;4c\x1bx\x19\x1b[Z\x1b"),
            [
                pressed(KeyCode::Char('j'), none),
                Input::StateReport,
                pressed(KeyCode::Up, none),
                pressed(KeyCode::Char('x'), KeyModifiers::ALT),
                pressed(KeyCode::Char('y'), KeyModifiers::CONTROL),
                pressed(KeyCode::BackTab, KeyModifiers::SHIFT),
                pressed(KeyCode::Esc, none),
            ]
        );
        assert_eq!(
            parse(b"\x1b\x1b"),
            [pressed(KeyCode::Esc, none), pressed(KeyCode::Esc, none)]
        );
        assert_eq!(
            parse("\x1b[200~a\x1b[0n灰\x1b[201~".as_bytes()),
            [Input::Event(Event::Paste("a\x1b[0n灰".into()))]
        );
    }

    proptest! {
        /// Whatever comes, a report after it is seen; only a paste that has begun hides it.
        #[test]
        fn any_bytes_leave_the_parser_in_order(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assume!(!bytes.contains(&ESC));
            let mut parser = InputParser::default();
            parser.parse_bytes(&bytes);
            // Ends a character that was begun.
            parser.parse_bytes(b"aaaa");
            prop_assert_eq!(parser.parse_bytes(b"\x1b[0n"), [Input::StateReport]);
        }

        /// A sequence is the same in two portions, wherever it is cut.
        #[test]
        fn any_sequence_may_come_in_two_portions(
            sequence in prop::sample::select(vec!["\x1b[1;5C", "\x1b[0n", "\x1b[200~ab\x1b[201~", "灰", "\x1bOP"]),
            cut in 1usize..12,
        ) {
            let bytes = sequence.as_bytes();
            prop_assume!(cut < bytes.len());
            let mut parser = InputParser::default();
            let mut all = parser.parse_bytes(&bytes[..cut]);
            all.extend(parser.parse_bytes(&bytes[cut..]));
            prop_assert_eq!(all, parse(bytes));
        }
    }
}
