//! Writes cells in few bytes. A pen keeps what the terminal has from before, where the cursor stands
//! and the colours, and writes only what differs.

use std::fmt::Write;

use ratatui::{
    buffer::Cell,
    layout::Position,
    style::{Color, Modifier},
};

/// Modifiers that are seen on a blank cell.
const SEEN_ON_BLANK: Modifier = Modifier::REVERSED
    .union(Modifier::UNDERLINED)
    .union(Modifier::SLOW_BLINK)
    .union(Modifier::RAPID_BLINK)
    .union(Modifier::CROSSED_OUT);

/// Modifiers with the parameters that turn them on and off. Bold and dim share one that turns off.
const MODIFIERS: [(Modifier, u8, u8); 9] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::SLOW_BLINK, 5, 25),
    (Modifier::RAPID_BLINK, 6, 25),
    (Modifier::REVERSED, 7, 27),
    (Modifier::HIDDEN, 8, 28),
    (Modifier::CROSSED_OUT, 9, 29),
];

/// Fewer blanks than these are written as spaces.
const LEAST_ERASED: u16 = 12;

/// How a cell looks apart from its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    fg: Color,
    bg: Color,
    underline: Color,
    modifier: Modifier,
}

impl Look {
    const PLAIN: Self = Self {
        fg: Color::Reset,
        bg: Color::Reset,
        underline: Color::Reset,
        modifier: Modifier::empty(),
    };

    const fn of(cell: &Cell) -> Self {
        Self {
            fg: cell.fg,
            bg: cell.bg,
            underline: cell.underline_color,
            modifier: cell.modifier,
        }
    }
}

/// Whether a cell shows nothing but its background.
pub(super) fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " " && !cell.modifier.intersects(SEEN_ON_BLANK)
}

/// Whether two cells look the same on the screen.
pub(super) fn look_same(a: &Cell, b: &Cell) -> bool {
    if is_blank(a) && is_blank(b) {
        a.bg == b.bg
    } else {
        a.symbol() == b.symbol() && Look::of(a) == Look::of(b)
    }
}

/// The bytes written so far, and what the terminal has after them; `None` is unknown.
#[derive(Debug, Default)]
pub(super) struct Pen {
    bytes: String,
    at: Option<Position>,
    look: Option<Look>,
    shown: Option<bool>,
    /// The terminal fills erased cells with the current background.
    erases_in_colour: bool,
}

impl Pen {
    pub(super) fn new(erases_in_colour: bool) -> Self {
        Self {
            erases_in_colour,
            ..Self::default()
        }
    }

    /// Number of bytes written and not yet taken.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what was written.
    pub(super) fn take_bytes(&mut self) -> String {
        std::mem::take(&mut self.bytes)
    }

    /// Clears the screen, whatever the terminal had before.
    pub(super) fn clear_screen(&mut self) {
        (self.at, self.shown) = (None, None);
        self.look = Some(Look::PLAIN);
        self.bytes.push_str("\x1b[m\x1b[2J");
    }

    /// Forgets what the terminal has: others may have written to it.
    pub(super) const fn forget(&mut self) {
        (self.at, self.look, self.shown) = (None, None, None);
    }

    /// Shows the cursor there, or hides it.
    pub(super) fn place_cursor(&mut self, cursor: Option<Position>) {
        if let Some(position) = cursor {
            self.move_to(position);
        }
        if self.shown != Some(cursor.is_some()) {
            self.shown = Some(cursor.is_some());
            self.bytes.push_str(match cursor {
                Some(_) => "\x1b[?25h",
                None => "\x1b[?25l",
            });
        }
    }

    /// Whether the terminal shows the cursor there, or hides it.
    pub(super) fn has_cursor(&self, cursor: Option<Position>) -> bool {
        self.shown == Some(cursor.is_some()) && (cursor.is_none() || self.at == cursor)
    }

    /// Where the next cell would be written.
    pub(super) const fn position(&self) -> Option<Position> {
        self.at
    }

    /// Whether writing a cell takes no more than its symbol.
    pub(super) fn fits(&self, cell: &Cell) -> bool {
        self.look.is_some_and(|look| {
            if is_blank(cell) {
                look.bg == cell.bg && !look.modifier.intersects(SEEN_ON_BLANK)
            } else {
                look == Look::of(cell)
            }
        })
    }

    /// Moves the cursor.
    pub(super) fn move_to(&mut self, to: Position) {
        if self.at == Some(to) {
            return;
        }
        let _ = match self.at {
            Some(at) if at.y == to.y && to.x == at.x + 1 => write!(self.bytes, "\x1b[C"),
            Some(at) if at.y == to.y && to.x > at.x => {
                write!(self.bytes, "\x1b[{}C", to.x - at.x)
            }
            Some(at) if at.y == to.y => write!(self.bytes, "\x1b[{}G", to.x + 1),
            _ => write!(self.bytes, "\x1b[{};{}H", to.y + 1, to.x + 1),
        };
        self.at = Some(to);
    }

    /// Writes a cell of this width at a position of a screen with so many columns.
    pub(super) fn write_cell(&mut self, at: Position, cell: &Cell, width: u16, columns: u16) {
        self.move_to(at);
        self.take_look(cell);
        self.bytes.push_str(cell.symbol());
        // Terminals disagree about the width of what is wide, and about the cursor after the last
        // column.
        let next = at.x + width;
        self.at = (width == 1 && next < columns).then_some(Position { x: next, y: at.y });
    }

    /// Writes so many blank cells that look like `cell`.
    pub(super) fn write_blanks(&mut self, at: Position, cell: &Cell, count: u16, columns: u16) {
        let can_erase = self.erases_in_colour || cell.bg == Color::Reset;
        if count < LEAST_ERASED || !can_erase {
            for x in at.x..at.x + count {
                self.write_cell(Position { x, ..at }, cell, 1, columns);
            }
            return;
        }
        self.move_to(at);
        self.take_look(cell);
        let _ = if at.x + count == columns {
            write!(self.bytes, "\x1b[K")
        } else {
            write!(self.bytes, "\x1b[{count}X")
        };
    }

    /// Takes the look of a cell. On a blank only the background counts.
    fn take_look(&mut self, cell: &Cell) {
        if self.fits(cell) {
            return;
        }
        let look = match self.look {
            Some(now) if is_blank(cell) => Look {
                bg: cell.bg,
                modifier: now.modifier.difference(SEEN_ON_BLANK),
                ..now
            },
            _ => Look::of(cell),
        };
        let fresh = parameters(None, look);
        let step = self.look.map(|now| parameters(Some(now), look));
        let shorter = step
            .filter(|step| step.len() < fresh.len())
            .unwrap_or(fresh);
        let _ = write!(self.bytes, "\x1b[{shorter}m");
        self.look = Some(look);
    }
}

/// The parameters of SGR that lead from one look to another; without a first one from any.
fn parameters(from: Option<Look>, to: Look) -> String {
    let mut all: Vec<String> = vec![];
    let now = from.unwrap_or(Look::PLAIN);
    if from.is_none() && to != Look::PLAIN {
        all.push("0".into());
    }
    let mut kept = now.modifier;
    for (modifier, _, off) in MODIFIERS {
        if kept.contains(modifier) && !to.modifier.contains(modifier) {
            all.push(off.to_string());
            for (other, _, same) in MODIFIERS {
                if same == off {
                    kept.remove(other);
                }
            }
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if to.modifier.contains(modifier) && !kept.contains(modifier) {
            all.push(on.to_string());
        }
    }
    for (before, after, base) in [
        (now.fg, to.fg, 30),
        (now.bg, to.bg, 40),
        (now.underline, to.underline, 50),
    ] {
        if before != after {
            all.push(colour_parameter(after, base));
        }
    }
    all.join(";")
}

/// A colour of the text (`base` 30), the background (40) or the underline (50).
fn colour_parameter(colour: Color, base: u8) -> String {
    let named = match colour {
        Color::Reset => return (base + 9).to_string(),
        Color::Rgb(r, g, b) => return format!("{};2;{r};{g};{b}", base + 8),
        Color::Indexed(n) => return format!("{};5;{n}", base + 8),
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    match (base, named) {
        (50, _) => format!("58;5;{named}"),
        (_, 0..8) => (base + named).to_string(),
        (_, _) => (base + 60 + named - 8).to_string(),
    }
}
