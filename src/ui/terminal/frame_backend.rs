//! A backend that writes once per frame, in one synchronized update (DEC 2026). When nothing has
//! changed it writes nothing, not even to hide the cursor.

use std::io::{self, BufWriter, Write};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use ratatui::{
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
};

/// Buffer size in bytes, more than the first frame of a large terminal needs.
const BUFFER_BYTES: usize = 128 * 1024;

/// crossterm's backend behind a buffer of one frame.
pub struct FrameBackend<W: Write> {
    inner: CrosstermBackend<BufWriter<W>>,
    size: Option<Size>,
    open: bool,
    shown: Option<bool>,
    at: Option<Position>,
}

impl<W: Write> FrameBackend<W> {
    /// Writes to `out`; a fixed `size` is for tests.
    pub fn new(out: W, size: Option<Size>) -> Self {
        let inner = CrosstermBackend::new(BufWriter::with_capacity(BUFFER_BYTES, out));
        Self {
            inner,
            size,
            open: false,
            shown: None,
            at: None,
        }
    }

    fn begin_update(&mut self) -> io::Result<()> {
        if !self.open {
            self.open = true;
            queue!(self.inner, BeginSynchronizedUpdate)?;
        }
        Ok(())
    }
}

impl<W: Write> Backend for FrameBackend<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.begin_update()?;
        self.at = None;
        self.inner.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.shown != Some(false) {
            self.begin_update()?;
            self.shown = Some(false);
            queue!(self.inner, Hide)?;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.shown != Some(true) {
            self.begin_update()?;
            self.shown = Some(true);
            queue!(self.inner, Show)?;
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Querying the terminal would race with key input, and the alternate screen does not need
        // the true position.
        Ok(self.at.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.at != Some(position) {
            self.begin_update()?;
            self.at = Some(position);
            queue!(self.inner, MoveTo(position.x, position.y))?;
        }
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        use crossterm::terminal::{Clear, ClearType as Kind};
        self.begin_update()?;
        (self.shown, self.at) = (None, None);
        let kind = match clear_type {
            ClearType::All => Kind::All,
            ClearType::AfterCursor => Kind::FromCursorDown,
            ClearType::BeforeCursor => Kind::FromCursorUp,
            ClearType::CurrentLine => Kind::CurrentLine,
            ClearType::UntilNewLine => Kind::UntilNewLine,
        };
        queue!(self.inner, Clear(kind))
    }

    fn size(&self) -> io::Result<Size> {
        self.size.map_or_else(|| self.inner.size(), Ok)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.open {
            self.open = false;
            queue!(self.inner, EndSynchronizedUpdate)?;
            io::Write::flush(&mut self.inner)?;
        }
        Ok(())
    }
}
