//! Notices in panes about resources that cannot be read (no permission, or not installed), so that
//! missing data is not mistaken for none.

use ratatui::layout::Rect;

use crate::{
    domain::world::WatchGap,
    ui::{
        model::Model,
        theme::Role,
        widget::{Canvas, RichText},
    },
};

/// Draws the notice at the top, if there is one; returns the remaining area.
pub(in crate::ui) fn draw_gap(
    canvas: &mut Canvas<'_>,
    model: &Model,
    area: Rect,
    resources: &[&str],
) -> Rect {
    let mut gaps = model
        .world
        .gaps
        .iter()
        .filter(|g| resources.contains(&g.resource));
    let Some(gap) = gaps.next() else { return area };
    canvas.draw_line(area, 0, &gap_line(model, gap, gaps.count()));
    Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    }
}

/// Width at which no notice is cut.
pub(in crate::ui) fn needed_width(model: &Model) -> usize {
    let gaps = &model.world.gaps;
    gaps.iter()
        .map(|gap| gap_line(model, gap, gaps.len() - 1).width() + 2)
        .max()
        .unwrap_or(0)
}

fn gap_line(model: &Model, gap: &WatchGap, more: usize) -> RichText {
    let words = format!(" {} {}", model.options.glyphs.warn, gap.describe_gap());
    let more = if more > 0 {
        format!(" +{more}")
    } else {
        String::new()
    };
    RichText::styled(Role::Warn, words).add(Role::Muted, more)
}
