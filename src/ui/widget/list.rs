//! Lists that draw only visible rows. The first visible row follows from the selection, so no
//! scroll position is stored.

use ratatui::layout::Rect;

use super::{Canvas, PointerTarget, RichText};
use crate::ui::theme::Role;

/// Index of the first visible row: the selection stays in the middle where possible.
pub(crate) fn first_row(selected: Option<usize>, rows: usize, height: usize) -> usize {
    selected
        .unwrap_or(0)
        .saturating_sub(height / 2)
        .min(rows.saturating_sub(height))
}

impl Canvas<'_> {
    /// Draws rows of equal height; `row(i, inner width)` returns the lines of row `i`.
    pub(crate) fn draw_list(
        &mut self,
        area: Rect,
        rows: usize,
        selected: Option<usize>,
        focused: bool,
        each: u16,
        row: impl Fn(usize, usize) -> Vec<RichText>,
    ) {
        let each = each.max(1);
        let height = usize::from(area.height / each);
        let width = usize::from(area.width.saturating_sub(2));
        let top = first_row(selected, rows, height);
        for (n, i) in (top..rows.min(top + height)).enumerate() {
            let y = u16::try_from(n).unwrap_or(u16::MAX).saturating_mul(each);
            let body = Rect {
                x: area.x + 1,
                width: area.width.saturating_sub(1),
                ..area
            };
            for (k, rich) in row(i, width).iter().take(usize::from(each)).enumerate() {
                self.draw_line(body, y + u16::try_from(k).unwrap_or(0), rich);
            }
            let whole = Rect {
                y: area.y + y,
                height: each.min(area.height - y),
                ..area
            };
            self.add_target(whole, PointerTarget::Row(i));
            if selected == Some(i) {
                // Only the focused list highlights its row.
                if focused {
                    self.paint_area(whole, Role::Selected);
                }
                let role = if focused { Role::Focus } else { Role::Muted };
                for line in 0..whole.height {
                    self.draw_line(
                        Rect { width: 1, ..area },
                        y + line,
                        &RichText::styled(role, self.glyphs.cursor),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_row;

    #[test]
    fn the_selection_is_always_seen() {
        for rows in 0..30 {
            for height in 1..12 {
                for selected in 0..rows {
                    let top = first_row(Some(selected), rows, height);
                    assert!(
                        (top..top + height).contains(&selected),
                        "{selected} of {rows} in {height}: {top}"
                    );
                }
            }
        }
    }
}
