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
    model::{Model, Overlay, Pane},
    theme::Role,
    widget::{Canvas, Rich},
};

mod apps;
mod chain;
mod confirm;
mod environments;
mod footer;
mod form;
mod gap;
mod groups;
mod header;
mod lanes;
mod layout;
mod pair;
mod palette;
mod request;
mod rollout;
mod task;
mod text;
mod trace;
mod values;
mod words;

pub use layout::text_height;
use layout::{Needs, plan};
pub(crate) use text::{lines as text_lines, rows as text_rows};

/// Draws the screen; returns the position of the terminal's cursor when a field is edited.
pub fn view(model: &Model, area: Rect, buf: &mut Buffer) -> Option<(u16, u16)> {
    let area = area.intersection(buf.area);
    let options = &model.options;
    let mut canvas = Canvas {
        buf,
        theme: &options.theme,
        glyphs: &options.glyphs,
        cursor: None,
    };
    canvas.clear(area);
    let needs = Needs {
        left: apps::need(model)
            .max(environments::need(model))
            .max(lanes::need(model))
            .max(gap::need(model)),
        height: &|pane, width| match pane {
            Pane::Apps => model.world.apps.len() + 3,
            Pane::Environments => environments::height(model, width),
            Pane::Lanes => lanes::height(model, width),
            Pane::Rollout => rollout::height(model, width),
            Pane::Trace => model.place(pane).0 + 2,
        },
    };
    let plan = match plan(area, model.pane, model.zoom, &needs) {
        Ok(plan) => plan,
        Err(words) => {
            too_small(&mut canvas, model, area, &words);
            return None;
        }
    };
    header::draw(&mut canvas, model, plan.header);
    if let Some(tabs) = plan.tabs {
        header::tabs(&mut canvas, model, tabs);
    }
    let reads = matches!(model.overlays.first(), Some(Overlay::Text(_)));
    for (pane, area) in plan.panes.iter().filter(|_| !reads) {
        let focused = *pane == model.pane && model.overlays.is_empty();
        match pane {
            Pane::Apps => apps::draw(&mut canvas, model, *area, focused),
            Pane::Environments => environments::draw(&mut canvas, model, *area, focused),
            Pane::Rollout => rollout::draw(&mut canvas, model, *area, focused),
            Pane::Lanes => lanes::draw(&mut canvas, model, *area, focused),
            Pane::Trace => trace::draw(&mut canvas, model, *area, focused),
        }
    }
    footer::draw(&mut canvas, model, plan.footer);
    let last = model.overlays.len().saturating_sub(1);
    for (i, overlay) in model.overlays.iter().enumerate() {
        canvas.cursor = None;
        // Of several stacked dialogs only the topmost is visible.
        match overlay {
            Overlay::Form(_) | Overlay::Confirm(_) | Overlay::Palette(_) if i < last => continue,
            Overlay::Form(_) | Overlay::Confirm(_) | Overlay::Palette(_) => canvas.fade(plan.body),
            Overlay::Text(_) | Overlay::Filter(..) => {}
        }
        match overlay {
            Overlay::Text(open) => text::draw(&mut canvas, model, plan.body, open),
            Overlay::Form(open) => form::draw(&mut canvas, model, plan.body, open),
            Overlay::Confirm(question) => confirm::draw(&mut canvas, model, plan.body, question),
            Overlay::Palette(open) => palette::draw(&mut canvas, model, plan.body, open),
            Overlay::Filter(input, _) => footer::filter(&mut canvas, model, plan.footer, input),
        }
    }
    footer::report(&mut canvas, model, plan.body);
    canvas.cursor
}

/// Column headings are shown when no row is lost to them, or when there are many rows.
const fn has_head(inner: Rect, rows: usize) -> bool {
    inner.height > 4 || rows < inner.height as usize
}

/// Even on a tiny screen leaks and the most urgent release are shown.
fn too_small(canvas: &mut Canvas<'_>, model: &Model, area: Rect, words: &str) {
    let traffic = &model.facts.shown.traffic;
    let mut lines = vec![Rich::of(Role::Warn, words)];
    if traffic.leaks > 0 {
        lines.push(Rich::of(Role::Alarm, format!(" {} LEAKS ", traffic.leaks)));
    }
    lines.push(header::headline(model, usize::from(area.width)));
    lines.push(Rich::of(
        Role::Muted,
        format!(
            "{} quits",
            model.options.keymap.anywhere(super::keymap::Action::Quit)
        ),
    ));
    let top = (usize::from(area.height).saturating_sub(lines.len())) / 2;
    for (i, line) in lines.iter().enumerate() {
        let width = u16::try_from(line.width())
            .unwrap_or(u16::MAX)
            .min(area.width);
        let left = (area.width - width) / 2;
        let row = u16::try_from(top + i).unwrap_or(u16::MAX);
        canvas.line(
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
