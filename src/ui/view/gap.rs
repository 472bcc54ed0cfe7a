//! Notices in panes about resources that cannot be read (no permission, or not installed), so that
//! missing data is not mistaken for none.

use ratatui::layout::Rect;

use crate::{
    domain::world::Gap,
    ui::{
        model::Model,
        theme::Role,
        widget::{Canvas, Rich},
    },
};

/// Draws the notice at the top, if there is one; returns the remaining area.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, resources: &[&str]) -> Rect {
    let mut gaps = model
        .world
        .gaps
        .iter()
        .filter(|g| resources.contains(&g.resource));
    let Some(gap) = gaps.next() else { return area };
    canvas.line(area, 0, &line(model, gap, gaps.count()));
    Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    }
}

/// Width at which no notice is cut.
pub(super) fn need(model: &Model) -> usize {
    let gaps = &model.world.gaps;
    gaps.iter()
        .map(|gap| line(model, gap, gaps.len() - 1).width() + 2)
        .max()
        .unwrap_or(0)
}

fn line(model: &Model, gap: &Gap, more: usize) -> Rich {
    let words = format!(" {} {}", model.options.glyphs.warn, gap.words());
    let more = if more > 0 {
        format!(" +{more}")
    } else {
        String::new()
    };
    Rich::of(Role::Warn, words).add(Role::Muted, more)
}
