//! What the terminal shows, what it should show, and which of the differences are written first.
//!
//! A frame that has not been written yet is not kept: it only changes what should be shown. So what
//! a later frame draws over is never written, and whatever is left out, the next piece starts from
//! what the terminal really has.

use ratatui::{
    buffer::{Buffer, Cell},
    layout::{Position, Rect, Size},
};
use unicode_width::UnicodeWidthStr;

use super::pen::{Pen, is_blank, look_same};
use crate::ui::run::FrameCause;

/// In which order differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Text that the last key changed.
    Text,
    /// Colours that a key changed, and text that an earlier one did.
    Look,
    /// What only time changed.
    Time,
}

const RANKS: [Rank; 3] = [Rank::Text, Rank::Look, Rank::Time];

/// The terminal's screen as far as it is known, and the screen that is wanted.
#[derive(Debug)]
pub(super) struct ScreenCopy {
    shown: Buffer,
    wanted: Buffer,
    /// Rank of each cell that differs; `None` where nothing does.
    ranks: Vec<Option<Rank>>,
    /// Cells whose contents in the terminal are known.
    known: Vec<bool>,
}

impl ScreenCopy {
    /// A screen that was just cleared.
    pub(super) fn cleared(size: Size) -> Self {
        let buffer = Buffer::empty(Rect::from((Position::ORIGIN, size)));
        let cells = buffer.content.len();
        Self {
            shown: buffer.clone(),
            wanted: buffer,
            ranks: vec![None; cells],
            known: vec![true; cells],
        }
    }

    pub(super) fn size(&self) -> Size {
        self.wanted.area.as_size()
    }

    /// Nothing is known any more of what the terminal shows.
    pub(super) fn forget_shown(&mut self) {
        self.known.fill(false);
        for rank in &mut self.ranks {
            rank.get_or_insert(Rank::Time);
        }
    }

    /// Takes the changes of a frame.
    pub(super) fn want_cells<'a>(
        &mut self,
        cells: impl Iterator<Item = (u16, u16, &'a Cell)>,
        cause: FrameCause,
    ) {
        let mut rows: Vec<u16> = vec![];
        if cause == FrameCause::Key {
            let earlier = self.ranks.iter_mut().flatten();
            earlier.for_each(|rank| *rank = Rank::Look.max(*rank));
        }
        for (x, y, cell) in cells {
            if !self.wanted.area.contains(Position { x, y }) {
                continue;
            }
            let width = cell_width(cell);
            self.want_cell(x, y, cell.clone(), cause);
            // As ratatui leaves the cells that a wide symbol covers.
            let hidden = Cell::EMPTY;
            for x in x + 1..(x + width).min(self.wanted.area.right()) {
                self.want_cell(x, y, hidden.clone(), cause);
            }
            if rows.last() != Some(&y) {
                rows.push(y);
            }
        }
        if cause == FrameCause::Key {
            rows.into_iter().for_each(|y| self.raise_row(y));
        }
    }

    fn want_cell(&mut self, x: u16, y: u16, cell: Cell, cause: FrameCause) {
        let i = self.wanted.index_of(x, y);
        let same_text = self.wanted.content[i].symbol() == cell.symbol();
        self.wanted.content[i] = cell;
        if self.known[i] && look_same(&self.shown.content[i], &self.wanted.content[i]) {
            self.ranks[i] = None;
            return;
        }
        let rank = match cause {
            FrameCause::Key if same_text => Rank::Look,
            FrameCause::Key => Rank::Text,
            FrameCause::Time => Rank::Time,
        };
        self.ranks[i] = Some(self.ranks[i].map_or(rank, |before| before.min(rank)));
    }

    /// Between two places that a key changed nothing old is left over: half a word would be read
    /// as another one.
    fn raise_row(&mut self, y: u16) {
        let row = self.row(y);
        let ranks = &mut self.ranks[row];
        let is_text = |rank: &Option<Rank>| *rank == Some(Rank::Text);
        let (Some(first), Some(last)) = (
            ranks.iter().position(is_text),
            ranks.iter().rposition(is_text),
        ) else {
            return;
        };
        for rank in ranks[first..=last].iter_mut().flatten() {
            *rank = Rank::Text;
        }
    }

    fn row(&self, y: u16) -> std::ops::Range<usize> {
        let start = self.wanted.index_of(0, y);
        start..start + usize::from(self.wanted.area.width)
    }

    /// Whether the terminal shows something else than is wanted.
    pub(super) fn has_differences(&self) -> bool {
        self.ranks.iter().any(Option::is_some)
    }

    /// Writes differences until so many bytes are there, the most urgent first.
    pub(super) fn write_piece(&mut self, pen: &mut Pen, budget: usize) {
        for rank in RANKS {
            for y in 0..self.wanted.area.height {
                if self.ranks[self.row(y)].iter().flatten().any(|r| *r <= rank)
                    && !self.write_row(pen, y, rank, budget)
                {
                    return;
                }
            }
        }
    }

    /// Writes a row's differences up to this rank; returns whether there is room for more.
    fn write_row(&mut self, pen: &mut Pen, y: u16, rank: Rank, budget: usize) -> bool {
        let columns = self.wanted.area.width;
        let mut x = 0;
        while x < columns {
            let end = self.segment_end(x, y);
            let cells =
                self.wanted.index_of(x, y)..self.wanted.index_of(x, y) + usize::from(end - x);
            if !self.ranks[cells].iter().flatten().any(|r| *r <= rank) {
                x = end;
                continue;
            }
            if pen.len() >= budget {
                return false;
            }
            self.bridge_gap(pen, Position { x, y });
            x = self.write_segment(pen, x, end, y);
        }
        true
    }

    /// Writes the unchanged cells between the cursor and the next change where that is shorter than
    /// to move the cursor.
    fn bridge_gap(&self, pen: &mut Pen, to: Position) {
        let Some(at) = pen.position().filter(|at| at.y == to.y && at.x < to.x) else {
            return;
        };
        let gap = self.wanted.index_of(at.x, at.y)..self.wanted.index_of(to.x, to.y);
        let move_bytes = if to.x - at.x == 1 { 3 } else { 4 };
        let plain = |i: usize| {
            let cell = &self.shown.content[i];
            self.known[i] && pen.fits(cell) && cell.symbol().len() == 1
        };
        if gap.len() < move_bytes && gap.clone().all(plain) {
            for (x, i) in (at.x..).zip(gap) {
                let at = Position { x, y: at.y };
                pen.write_cell(at, &self.shown.content[i], 1, self.wanted.area.width);
            }
        }
    }

    /// Writes what starts at a column; returns the first column after it.
    fn write_segment(&mut self, pen: &mut Pen, x: u16, end: u16, y: u16) -> u16 {
        let columns = self.wanted.area.width;
        let i = self.wanted.index_of(x, y);
        let cell = self.wanted.content[i].clone();
        let mut count = 1;
        if end == x + 1 && is_blank(&cell) {
            count = self.blanks_from(x, y, &cell);
            pen.write_blanks(Position { x, y }, &cell, count, columns);
        } else {
            let mut at = x;
            while at < end {
                let cell = self.wanted[(at, y)].clone();
                let width = cell_width(&cell).min(columns - at);
                if cell.symbol().contains('\u{fe0f}') {
                    // Some terminals leave the second column of such a symbol as it was.
                    let blank = Cell::new(" ").set_style(cell.style()).clone();
                    pen.write_blanks(Position { x: at, y }, &blank, width, columns);
                }
                pen.write_cell(Position { x: at, y }, &cell, width, columns);
                at += width;
            }
            count = count.max(end - x);
        }
        for k in i..i + usize::from(count) {
            self.shown.content[k] = self.wanted.content[k].clone();
            (self.ranks[k], self.known[k]) = (None, true);
        }
        x + count
    }

    /// Number of cells from here that will be blank and look the same; those that are so already
    /// count where others follow.
    fn blanks_from(&self, x: u16, y: u16, cell: &Cell) -> u16 {
        let (start, end) = (self.wanted.index_of(x, y), self.row(y).end);
        let mut count = 1;
        for (n, i) in (start..end).enumerate().skip(1) {
            let at = x + n as u16;
            let is_same = look_same(&self.wanted.content[i], cell);
            if !is_same || self.segment_end(at, y) != at + 1 {
                break;
            }
            if self.ranks[i].is_some() {
                count = n as u16 + 1;
            }
        }
        count
    }

    /// The end of what has to be written at once from a column: a wide symbol is never cut, neither
    /// one that is shown nor one that is wanted.
    fn segment_end(&self, x: u16, y: u16) -> u16 {
        let columns = self.wanted.area.width;
        let mut end = x + 1;
        let mut at = x;
        while at < end {
            let i = self.wanted.index_of(at, y);
            let widest =
                cell_width(&self.wanted.content[i]).max(cell_width(&self.shown.content[i]));
            end = end.max(at + widest).min(columns);
            at += 1;
        }
        end
    }
}

/// Columns that a cell's symbol takes.
fn cell_width(cell: &Cell) -> u16 {
    u16::try_from(cell.symbol().width()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;
    use ratatui::style::{Color, Modifier, Style};

    use super::*;

    const SIZE: Size = Size {
        width: 30,
        height: 4,
    };

    /// A screen's worth of words in some colours, drawn as views draw.
    fn any_screen(wide: &'static str) -> impl Strategy<Value = Buffer> {
        let text = prop_oneof![
            4 => "[ a-c●─]{0,12}",
            2 => " {8,30}",
            1 => wide,
        ];
        let colour = prop::sample::select(vec![
            Color::Reset,
            Color::Red,
            Color::LightBlue,
            Color::Indexed(200),
            Color::Rgb(1, 2, 3),
        ]);
        let modifier = prop::sample::select(vec![
            Modifier::empty(),
            Modifier::BOLD,
            Modifier::DIM,
            Modifier::ITALIC | Modifier::BOLD,
            Modifier::UNDERLINED,
            Modifier::REVERSED,
        ]);
        let part = (
            0..SIZE.width,
            0..SIZE.height,
            text,
            colour.clone(),
            colour,
            modifier,
        );
        prop::collection::vec(part, 0..12).prop_map(|parts| {
            let mut buffer = Buffer::empty(Rect::from((Position::ORIGIN, SIZE)));
            for (x, y, text, fg, bg, modifier) in parts {
                let style = Style::reset().fg(fg).bg(bg).add_modifier(modifier);
                buffer.set_string(x, y, text, style);
            }
            buffer
        })
    }

    /// A terminal, and how its cells differ from those of a buffer.
    struct Terminal(vt100::Parser);

    impl Terminal {
        fn new() -> Self {
            let side = |n| NonZeroU16::new(n).unwrap();
            Self(vt100::Parser::new(side(SIZE.height), side(SIZE.width), 0))
        }

        fn difference(&self, wanted: &Buffer) -> Option<String> {
            let mut x_y = wanted.area.positions();
            let mut hidden_until = (0, 0);
            x_y.find_map(|at| {
                let cell = &wanted[at];
                if at.y == hidden_until.1 && at.x < hidden_until.0 {
                    return None;
                }
                hidden_until = (at.x + cell_width(cell), at.y);
                let seen = self.0.screen().cell(at.y, at.x).unwrap();
                let text = if seen.has_contents() {
                    seen.contents()
                } else {
                    " "
                };
                let has = |modifier| cell.modifier.contains(modifier);
                let is_same = text == cell.symbol()
                    && same_colour(seen.bgcolor(), cell.bg)
                    && seen.underline() == has(Modifier::UNDERLINED)
                    && seen.inverse() == has(Modifier::REVERSED)
                    && (is_blank(cell)
                        || same_colour(seen.fgcolor(), cell.fg)
                            && seen.bold() == has(Modifier::BOLD)
                            && seen.dim() == has(Modifier::DIM)
                            && seen.italic() == has(Modifier::ITALIC));
                (!is_same).then(|| format!("{at}: {seen:?} is not {cell:?}"))
            })
        }
    }

    fn same_colour(seen: vt100::Color, wanted: Color) -> bool {
        seen == match wanted {
            Color::Red => vt100::Color::Idx(1),
            Color::LightBlue => vt100::Color::Idx(12),
            Color::Indexed(n) => vt100::Color::Idx(n),
            Color::Rgb(r, g, b) => vt100::Color::Rgb(r, g, b),
            _ => vt100::Color::Default,
        }
    }

    proptest! {
        /// However frames follow one another and wherever pieces end: the copy is what the terminal
        /// shows, and in the end that is the last frame.
        #[test]
        fn any_frames_in_any_pieces_end_on_the_screen(
            frames in prop::collection::vec(
                (any_screen("[灰度a ]{0,9}"), any::<bool>(), prop::collection::vec(1usize..200, 0..4), 0..8),
                1..8,
            ),
            erases in any::<bool>(),
        ) {
            let (mut terminal, mut pen) = (Terminal::new(), Pen::new(erases));
            let mut copy = ScreenCopy::cleared(SIZE);
            pen.clear_screen();
            let mut before = Buffer::empty(Rect::from((Position::ORIGIN, SIZE)));
            for (frame, is_key, pieces, forgotten) in &frames {
                if *forgotten == 0 {
                    // Another program writes to the terminal.
                    terminal.0.process("\x1b[H\x1b[31mzzz\x1b[2;4H灰灰".as_bytes());
                    pen.forget();
                    copy.forget_shown();
                }
                let cause = if *is_key { FrameCause::Key } else { FrameCause::Time };
                let changes = before.diff(frame);
                copy.want_cells(changes.into_iter(), cause);
                before = frame.clone();
                for budget in pieces {
                    copy.write_piece(&mut pen, *budget);
                    terminal.0.process(pen.take_bytes().as_bytes());
                }
            }
            copy.write_piece(&mut pen, usize::MAX);
            terminal.0.process(pen.take_bytes().as_bytes());
            prop_assert!(!copy.has_differences());
            prop_assert_eq!(terminal.difference(&before), None);
        }

        /// A frame that is there already costs nothing, and one that is drawn over before it was
        /// written neither.
        #[test]
        fn any_frame_that_is_drawn_over_costs_nothing(
            first in any_screen("[ab]"),
            second in any_screen("[ab]"),
        ) {
            let mut pen = Pen::new(true);
            let mut copy = ScreenCopy::cleared(SIZE);
            let empty = Buffer::empty(first.area);
            copy.want_cells(empty.diff(&first).into_iter(), FrameCause::Key);
            copy.write_piece(&mut pen, usize::MAX);
            pen.take_bytes();
            copy.want_cells(first.diff(&second).into_iter(), FrameCause::Time);
            copy.want_cells(second.diff(&first).into_iter(), FrameCause::Time);
            copy.write_piece(&mut pen, usize::MAX);
            prop_assert_eq!(pen.take_bytes(), "");
        }
    }

    fn drawn(parts: &[(u16, u16, &str, Color)]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::from((Position::ORIGIN, SIZE)));
        for (x, y, text, colour) in parts {
            buffer.set_string(*x, *y, text, Style::new().fg(*colour));
        }
        buffer
    }

    /// What a key changed comes before what only time changed, and text before colours.
    #[test]
    fn what_a_key_changed_is_written_first() {
        let (mut pen, mut copy) = (Pen::new(true), ScreenCopy::cleared(SIZE));
        let empty = drawn(&[]);
        let first = drawn(&[(0, 0, "time", Color::Red), (0, 1, "look", Color::Red)]);
        copy.want_cells(empty.diff(&first).into_iter(), FrameCause::Time);
        copy.write_piece(&mut pen, usize::MAX);
        pen.take_bytes();
        let later = drawn(&[(0, 0, "TIME", Color::Red), (0, 1, "look", Color::Red)]);
        copy.want_cells(first.diff(&later).into_iter(), FrameCause::Time);
        let earlier = drawn(&[
            (0, 0, "TIME", Color::Red),
            (0, 1, "look", Color::Red),
            (0, 2, "was", Color::Red),
        ]);
        copy.want_cells(later.diff(&earlier).into_iter(), FrameCause::Key);
        let key = drawn(&[
            (0, 0, "TIME", Color::Red),
            (0, 1, "look", Color::Blue),
            (0, 2, "was", Color::Red),
            (0, 3, "key", Color::Red),
        ]);
        copy.want_cells(earlier.diff(&key).into_iter(), FrameCause::Key);
        let mut order = vec![];
        while copy.has_differences() {
            copy.write_piece(&mut pen, 1);
            let bytes = pen.take_bytes();
            order.extend(bytes.chars().filter(|c| "keylowasTIME".contains(*c)));
        }
        let order: String = order.into_iter().collect();
        assert_eq!(order, "keylookwasTIME");
    }

    #[test]
    fn between_two_changes_of_a_key_nothing_old_is_left() {
        let (mut pen, mut copy) = (Pen::new(true), ScreenCopy::cleared(SIZE));
        let time = drawn(&[(0, 0, "abc", Color::Red)]);
        copy.want_cells(drawn(&[]).diff(&time).into_iter(), FrameCause::Time);
        let key = drawn(&[(0, 0, "xbz", Color::Red)]);
        copy.want_cells(time.diff(&key).into_iter(), FrameCause::Key);
        copy.write_piece(&mut pen, usize::MAX);
        assert!(pen.take_bytes().contains("xbz"));
    }
}
