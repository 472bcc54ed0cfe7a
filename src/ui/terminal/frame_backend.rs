//! A backend that brings frames to the terminal in pieces as large as its line takes, what a key
//! changed first. When nothing has changed it writes nothing, not even to hide the cursor.

use std::io::{self, Write};

use ratatui::{
    backend::{Backend, ClearType, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{line::Line, pen::Pen, screen_copy::ScreenCopy};
use crate::ui::run::{FrameCause, PacedBackend};

/// Asks the terminal for its state; it answers when it has come so far (DSR 5).
const STATE_QUERY: &[u8] = b"\x1b[5n";
/// A piece of more bytes is shown as a whole (synchronized update, DEC 2026).
const SHOWN_AS_WHOLE: usize = 1024;
const BEGIN_UPDATE: &[u8] = b"\x1b[?2026h";
const END_UPDATE: &[u8] = b"\x1b[?2026l";
/// How long the last answer is waited for.
const LAST_ANSWER: std::time::Duration = std::time::Duration::from_secs(2);

/// Writes frames to `out`, piece by piece.
pub struct FrameBackend<W: Write> {
    out: W,
    size: Option<Size>,
    copy: ScreenCopy,
    pen: Pen,
    cause: FrameCause,
    /// Where the cursor is wanted; `None` hides it.
    cursor: Option<Position>,
    needs_clear: bool,
    /// Whether the last frame wanted other cells than the one before.
    changed: bool,
    paced: Option<PacedLine>,
}

/// A line with a terminal at its end that may answer.
struct PacedLine {
    line: Line,
    /// Counts the answers of the terminal.
    answers: watch::Receiver<u64>,
    counted: u64,
}

impl<W: Write> FrameBackend<W> {
    /// Writes each frame at once; a fixed `size` is for tests.
    pub fn new(out: W, size: Option<Size>) -> Self {
        let now = size.or_else(|| terminal_size().ok()).unwrap_or_default();
        Self {
            out,
            size,
            copy: ScreenCopy::cleared(now),
            pen: Pen::new(true),
            cause: FrameCause::Key,
            cursor: None,
            needs_clear: true,
            changed: true,
            paced: None,
        }
    }

    /// Writes as the line to a terminal takes it, whose answers are counted elsewhere.
    pub fn paced(
        out: W,
        answers: watch::Receiver<u64>,
        erases_in_colour: bool,
    ) -> io::Result<Self> {
        let mut backend = Self::new(out, None);
        backend.pen = Pen::new(erases_in_colour);
        // The way there and back alone, before anything else is under way.
        backend.out.write_all(STATE_QUERY)?;
        backend.out.flush()?;
        let mut line = Line::new(Instant::now());
        line.note_sent(0, Instant::now());
        backend.paced = Some(PacedLine {
            line,
            answers,
            counted: 0,
        });
        Ok(backend)
    }

    /// Whether the terminal does not show yet what is wanted.
    fn has_unsent(&self) -> bool {
        self.needs_clear || self.copy.has_differences() || !self.pen.has_cursor(self.cursor)
    }

    /// Writes a piece of at most about so many bytes.
    fn write_piece(&mut self, budget: usize) -> io::Result<usize> {
        if std::mem::take(&mut self.needs_clear) {
            self.pen.clear_screen();
        }
        self.copy.write_piece(&mut self.pen, budget);
        self.pen.place_cursor(self.cursor);
        let piece = self.pen.take_bytes();
        let is_whole = piece.len() > SHOWN_AS_WHOLE;
        let mut bytes = Vec::with_capacity(piece.len() + 32);
        if is_whole {
            bytes.extend_from_slice(BEGIN_UPDATE);
        }
        bytes.extend_from_slice(piece.as_bytes());
        if is_whole {
            bytes.extend_from_slice(END_UPDATE);
        }
        if self.paced.is_some() {
            bytes.extend_from_slice(STATE_QUERY);
        }
        self.out.write_all(&bytes)?;
        self.out.flush()?;
        Ok(bytes.len())
    }
}

impl PacedLine {
    /// Takes what the terminal has answered since.
    fn take_answers(&mut self, now: Instant) {
        let count = *self.answers.borrow_and_update();
        for _ in self.counted..count {
            self.line.note_answer(now);
        }
        self.counted = count;
        self.line.check_silence(now);
    }

    /// Completes when the terminal has answered, or when time alone changes what the line takes.
    async fn wait_for_change(&mut self) {
        let timer = self.line.next_change(Instant::now());
        let answers = &mut self.answers;
        tokio::select! {
            changed = answers.changed() => if changed.is_err() {
                // Nobody reads the terminal any more.
                std::future::pending::<()>().await;
            },
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
        }
    }
}

impl<W: Write> PacedBackend for FrameBackend<W> {
    fn set_cause(&mut self, cause: FrameCause) {
        self.cause = cause;
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn is_at_rest(&self) -> bool {
        let now = Instant::now();
        self.paced
            .as_ref()
            .is_none_or(|paced| paced.line.is_at_rest(now) && !self.has_unsent())
    }

    async fn wait_for_line(&mut self) {
        let has_unsent = self.has_unsent();
        match &mut self.paced {
            Some(paced) if has_unsent && paced.line.room(Instant::now()) > 0 => {}
            Some(paced) => paced.wait_for_change().await,
            None => std::future::pending().await,
        }
    }

    fn send_piece(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let Some(paced) = &mut self.paced else {
            return Ok(());
        };
        paced.take_answers(now);
        let room = paced.line.room(now);
        if room == 0 || !self.has_unsent() {
            return Ok(());
        }
        let bytes = self.write_piece(room)?;
        if let Some(paced) = &mut self.paced {
            paced.line.note_sent(bytes, now);
        }
        Ok(())
    }

    async fn await_answers(&mut self) {
        let Some(paced) = &mut self.paced else { return };
        let answered = async {
            loop {
                paced.take_answers(Instant::now());
                if !paced.line.awaits_answer() {
                    break;
                }
                paced.wait_for_change().await;
            }
        };
        let _ = timeout(LAST_ANSWER, answered).await;
    }
}

impl<W: Write> Backend for FrameBackend<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        self.changed = content.peek().is_some();
        self.copy.want_cells(content, self.cause);
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.cursor = None;
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.cursor.get_or_insert_default();
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Querying the terminal would race with key input, and the alternate screen does not need
        // the true position.
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        if let Some(cursor) = &mut self.cursor {
            *cursor = position.into();
        }
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    /// Only the whole screen is ever cleared. At the same size nothing is wiped: every cell is
    /// written anew, and what can be read meanwhile stays.
    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        let size = self.size()?;
        self.pen.forget();
        if size == self.copy.size() {
            self.copy.forget_shown();
        } else {
            self.copy = ScreenCopy::cleared(size);
            self.needs_clear = true;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        self.size.map_or_else(terminal_size, Ok)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::ZERO,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.paced.is_none() && self.has_unsent() {
            self.write_piece(usize::MAX)?;
        }
        Ok(())
    }
}

fn terminal_size() -> io::Result<Size> {
    let (width, height) = crossterm::terminal::size()?;
    Ok(Size { width, height })
}
