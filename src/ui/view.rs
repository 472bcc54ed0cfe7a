//! The screen as a pure function of the model.
//!
//! ```text
//! ┌ header: what is released, how far, who must act; traffic; link, engine, entry ┐
//! │ 1 Apps          │ 3 Rollout                                                   │
//! │ 2 Environments  │                                                             │
//! │ 4 Lanes         │ 5 Trace                                                     │
//! └ footer: the keys that work here; above it for a while what was just reported ──┘
//! ```

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    model::{Model, Overlay},
    pane::Pane,
    theme::Role,
    widget::{Canvas, PointerMap, PointerTarget, RichText},
};

pub(super) mod chain;
pub(super) mod columns;
mod comparison;
mod confirm;
pub(super) mod first_steps;
mod footer;
mod form;
pub(super) mod gap;
mod header;
pub(super) mod labels;
mod layout;
mod palette;
mod request;
mod rows;
pub(super) mod task;
mod text;
pub(super) mod title;
mod values;

use columns::ListRoom;
pub use layout::text_height;
use layout::{PaneNeeds, ScreenPlan, ScreenTooSmall, plan_screen};
pub(crate) use rows::TextRows;
pub(crate) use text::plain_text;

/// Draws the screen; returns the position of the terminal's cursor when a field is edited.
pub fn view(model: &Model, area: Rect, buf: &mut Buffer) -> Option<(u16, u16)> {
    draw_screen(model, area, buf).cursor
}

/// What a pointer is on, with the row of the list there. The screen is drawn for it, so what is hit
/// is what is seen.
pub(crate) fn find_pointer_target(
    model: &Model,
    column: u16,
    row: u16,
) -> Option<(PointerTarget, Option<usize>)> {
    let area = Rect::new(0, 0, model.size.0, model.size.1);
    let mut buf = Buffer::empty(area);
    let drawn = draw_screen(model, area, &mut buf);
    drawn.pointer.find_target(column, row)
}

fn draw_screen<'a>(model: &'a Model, area: Rect, buf: &'a mut Buffer) -> Canvas<'a> {
    let area = area.intersection(buf.area);
    let options = &model.options;
    let mut canvas = Canvas {
        buf,
        theme: &options.theme,
        glyphs: &options.glyphs,
        cursor: None,
        pointer: PointerMap::default(),
    };
    canvas.clear_area(area);
    let plan = match plan_panes(model, area) {
        Ok(plan) => plan,
        Err(words) => {
            draw_too_small(&mut canvas, model, area, &words.to_string());
            return canvas;
        }
    };
    header::draw_header(&mut canvas, model, plan.header);
    if let Some(tabs) = plan.tabs {
        header::draw_tabs(&mut canvas, model, tabs);
    }
    let reads = matches!(model.overlays.first(), Some(Overlay::Text(_)));
    for (pane, area) in plan.panes.iter().filter(|_| !reads) {
        draw_pane(&mut canvas, model, *pane, *area);
    }
    footer::draw_footer(&mut canvas, model, plan.footer);
    draw_overlays(&mut canvas, model, &plan);
    footer::draw_notice(&mut canvas, model, plan.body);
    canvas
}

/// Divides the screen by what the panes need.
fn plan_panes(model: &Model, area: Rect) -> Result<ScreenPlan, ScreenTooSmall> {
    let left = Pane::ALL.map(|pane| pane.behaviour().needed_width(model));
    let left = left.into_iter().max().unwrap_or(0);
    let needs = PaneNeeds {
        left: left.max(gap::needed_width(model)),
        height: &|pane, width| pane.behaviour().needed_height(model, width),
    };
    plan_screen(area, model.pane, model.zoom, &needs)
}

/// Columns by which the list of the focused pane can be scrolled to the right.
pub(crate) fn scroll_limit(model: &Model) -> usize {
    let (width, height) = model.size;
    let Ok(plan) = plan_panes(model, Rect::new(0, 0, width, height)) else {
        return 0;
    };
    let area = plan.panes.iter().find(|(pane, _)| *pane == model.pane);
    // The frame and the sign of the selected row.
    let shown = area.map_or(0, |(_, area)| usize::from(area.width).saturating_sub(4));
    let full = model
        .pane
        .behaviour()
        .full_width(model, ListRoom::most_pinned(shown));
    full.saturating_sub(shown)
}

fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, pane: Pane, area: Rect) {
    let focused = pane == model.pane && model.overlays.is_empty();
    canvas.add_target(area, PointerTarget::Pane(pane));
    pane.behaviour().draw(canvas, model, area, focused);
}

fn draw_overlays(canvas: &mut Canvas<'_>, model: &Model, plan: &ScreenPlan) {
    let last = model.overlays.len().saturating_sub(1);
    for (i, overlay) in model.overlays.iter().enumerate() {
        canvas.cursor = None;
        canvas.add_target(canvas.buf.area, PointerTarget::Cover);
        // Of several stacked dialogs only the topmost is visible.
        match overlay {
            Overlay::Form(_) | Overlay::Confirm(_) | Overlay::Palette(_) if i < last => continue,
            Overlay::Form(_) | Overlay::Confirm(_) | Overlay::Palette(_) => {
                canvas.dim_area(plan.body);
            }
            Overlay::Text(_) | Overlay::Filter(..) | Overlay::Prompt(_) => {}
        }
        match overlay {
            Overlay::Text(open) => text::draw_overlay(canvas, model, plan.body, open),
            Overlay::Form(open) => form::draw_overlay(canvas, model, plan.body, open),
            Overlay::Confirm(question) => confirm::draw_overlay(canvas, model, plan.body, question),
            Overlay::Palette(open) => palette::draw_overlay(canvas, model, plan.body, open),
            Overlay::Filter(input, _) => footer::draw_filter(canvas, model, plan.footer, input),
            Overlay::Prompt(prompt) => footer::draw_prompt(canvas, model, plan.footer, prompt),
        }
    }
}

/// Even on a tiny screen leaks and the most urgent release are shown.
fn draw_too_small(canvas: &mut Canvas<'_>, model: &Model, area: Rect, words: &str) {
    let traffic = model.shown_traffic();
    let mut lines = vec![RichText::styled(Role::Warn, words)];
    if traffic.leaks > 0 {
        lines.push(RichText::styled(
            Role::Alarm,
            format!(" {} LEAKS ", traffic.leaks),
        ));
    }
    lines.push(header::release_headline(model, usize::from(area.width)));
    lines.push(RichText::styled(
        Role::Muted,
        format!(
            "{} quits",
            model
                .options
                .keymap
                .key_anywhere(super::keymap::Action::Quit)
        ),
    ));
    let top = (usize::from(area.height).saturating_sub(lines.len())) / 2;
    for (i, line) in lines.iter().enumerate() {
        let width = u16::try_from(line.width())
            .unwrap_or(u16::MAX)
            .min(area.width);
        let left = (area.width - width) / 2;
        let row = u16::try_from(top + i).unwrap_or(u16::MAX);
        canvas.draw_line(
            Rect {
                x: area.x + left,
                width: area.width - left,
                ..area
            },
            row,
            line,
        );
    }
}
