//! Frames for panes and for overlays.

use ratatui::{layout::Rect, symbols::border};

use super::{Canvas, RichText};
use crate::ui::theme::Role;

impl Canvas<'_> {
    /// Draws a pane with its title on the left and facts on the right of the top line; returns the
    /// inner area.
    pub(crate) fn draw_pane(
        &mut self,
        area: Rect,
        title: &RichText,
        facts: &RichText,
        focused: bool,
    ) -> Rect {
        let role = if focused { Role::Focus } else { Role::Border };
        self.draw_frame(
            area,
            title,
            facts,
            &RichText::new(),
            role,
            self.glyphs.border,
        )
    }

    /// Draws an overlay frame; returns the inner area.
    pub(crate) fn draw_modal(
        &mut self,
        area: Rect,
        title: &RichText,
        facts: &RichText,
        foot: &RichText,
        role: Role,
    ) -> Rect {
        self.clear_area(area);
        self.draw_frame(area, title, facts, foot, role, self.glyphs.strong)
    }

    fn draw_frame(
        &mut self,
        area: Rect,
        title: &RichText,
        facts: &RichText,
        foot: &RichText,
        role: Role,
        set: border::Set,
    ) -> Rect {
        let area = area.intersection(self.buf.area);
        if area.width < 2 || area.height < 2 {
            return Rect {
                width: 0,
                height: 0,
                ..area
            };
        }
        let style = self.theme.style(role);
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        let mut put = |x: u16, y: u16, symbol: &str| {
            if let Some(cell) = self.buf.cell_mut((x, y)) {
                cell.set_symbol(symbol).set_style(style);
            }
        };
        for x in area.x + 1..right {
            put(x, area.y, set.horizontal_top);
            put(x, bottom, set.horizontal_bottom);
        }
        for y in area.y + 1..bottom {
            put(area.x, y, set.vertical_left);
            put(right, y, set.vertical_right);
        }
        put(area.x, area.y, set.top_left);
        put(right, area.y, set.top_right);
        put(area.x, bottom, set.bottom_left);
        put(right, bottom, set.bottom_right);

        let inner = Rect {
            x: area.x + 1,
            y: area.y + 1,
            width: area.width - 2,
            height: area.height - 2,
        };
        let top = Rect {
            x: area.x + 2,
            y: area.y,
            width: area.width.saturating_sub(4),
            height: 1,
        };
        if !title.is_empty() {
            self.draw_line(top, 0, &pad_title(title));
        }
        if !facts.is_empty() && fits_frame(title, facts, area.width) {
            self.draw_line_right(top, 0, &pad_title(facts));
        }
        if !foot.is_empty() {
            self.draw_line_right(Rect { y: bottom, ..top }, 0, &pad_title(foot));
        }
        inner
    }
}

/// Whether title and facts both fit into the top line of a frame.
pub(crate) fn fits_frame(title: &RichText, facts: &RichText, width: u16) -> bool {
    title.width() + 3 + facts.width() + 2 + 4 <= usize::from(width)
}

fn pad_title(rich: &RichText) -> RichText {
    RichText::styled(Role::Text, " ")
        .join(rich.clone())
        .add(Role::Text, " ")
}

/// Columns of a line, as many of them as it has.
pub(crate) fn columns_of_line(line: Rect, left: usize, width: usize) -> Rect {
    let cut = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let left = cut(left).min(line.width);
    Rect {
        x: line.x + left,
        width: cut(width).min(line.width - left),
        ..line
    }
}

/// An area of this size in the centre.
pub(crate) fn centre_rect(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}
