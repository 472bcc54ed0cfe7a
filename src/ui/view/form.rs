//! Draws a form: labelled fields, errors below each field, and a preview of the change.

use ratatui::layout::Rect;
use tui_input::Input;

use super::confirm::remark;
use crate::domain::text::width as columns;
use crate::ui::{
    form::{Field, Form, Value},
    keymap::{Action, Context},
    model::Model,
    theme::Role,
    widget::{Canvas, Rich, centred, first, wrap},
};

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, form: &Form) {
    let label = form
        .fields
        .iter()
        .map(|f| f.label.chars().count())
        .max()
        .unwrap_or(6)
        .clamp(6, 20)
        + 2;
    // Hints must fit on one line.
    let hint = form
        .fields
        .iter()
        .map(|f| columns(&f.hint))
        .max()
        .unwrap_or(0)
        + label
        + 4;
    let width = u16::try_from(hint)
        .unwrap_or(u16::MAX)
        .max(96)
        .min(area.width.saturating_sub(4));
    let text = usize::from(width).saturating_sub(4);
    let rows: Vec<(usize, Option<String>)> = form
        .fields
        .iter()
        .enumerate()
        .flat_map(|(i, f)| {
            let note = f
                .error
                .clone()
                .filter(|_| f.told || form.tried)
                .map(|e| (i, Some(e)));
            std::iter::once((i, None)).chain(note)
        })
        .collect();
    let remarks: Vec<Rich> = form.remarks.iter().flat_map(|r| wrapped(r, text)).collect();
    let gap = usize::from(!remarks.is_empty());
    let wanted = rows.len() + 2 + gap + remarks.len() + 2;
    let area = centred(
        area,
        width,
        u16::try_from(wanted).unwrap_or(u16::MAX).min(area.height),
    );
    let role = if form.shows_wrong() {
        Role::Bad
    } else {
        Role::Focus
    };
    let title = Rich::of(Role::Title, &form.title);
    let key = |action| model.options.keymap.within(Context::Form, action);
    let foot = Rich::of(Role::Key, key(Action::NextField)).add(Role::Muted, " next  ");
    let foot = foot
        .add(Role::Key, key(Action::Submit))
        .add(Role::Muted, " review  ");
    let foot = foot
        .add(Role::Key, key(Action::Back))
        .add(Role::Muted, " leave");
    let inner = canvas.modal(area, &title, &Rich::new(), &foot, role);
    let body = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };

    let spare = remarks
        .len()
        .min(usize::from(body.height).saturating_sub(rows.len().min(8) + 2 + gap));
    let room = usize::from(body.height).saturating_sub(2 + gap + spare);
    let here = rows
        .iter()
        .position(|(i, note)| *i == form.at && note.is_none());
    let top = first(here, rows.len(), room);
    let mut row = 0u16;
    for (i, note) in rows.iter().skip(top).take(room) {
        let Some(found) = form.fields.get(*i) else {
            continue;
        };
        match note {
            Some(note) => {
                canvas.line(
                    body,
                    row,
                    &Rich::new().to(label).add(Role::Bad, format!("✗ {note}")),
                );
            }
            None => line(canvas, body, row, found, label, *i == form.at),
        }
        row += 1;
    }
    let mut hint = Rich::new().to(label);
    if let Some(field) = form.fields.get(form.at) {
        if let Value::Choice { .. } = field.value {
            let keys = format!(
                "{} {}",
                key(Action::PreviousChoice),
                key(Action::NextChoice)
            );
            hint = hint.add(Role::Key, keys).add(Role::Muted, " choose  ");
        }
        hint = hint.add(Role::Muted, &field.hint);
    }
    canvas.line(body, row + 1, &hint);
    let row = row + 2 + u16::from(gap > 0);
    if gap > 0 {
        canvas.line(
            body,
            row - 1,
            &Rich::of(
                Role::Border,
                model.options.glyphs.rule.repeat(usize::from(body.width)),
            ),
        );
    }
    for (row, remark) in (row..).zip(remarks.iter().take(spare)) {
        canvas.line(body, row, remark);
    }
}

fn wrapped(of: &crate::ui::form::Remark, width: usize) -> Vec<Rich> {
    let whole = remark(of);
    let role = whole.runs.first().map_or(Role::Text, |(role, _)| *role);
    if whole.width() <= width {
        return vec![whole];
    }
    wrap(&whole.text(), width)
        .into_iter()
        .map(|part| Rich::of(role, part))
        .collect()
}

fn line(canvas: &mut Canvas<'_>, area: Rect, row: u16, field_of: &Field, label: usize, here: bool) {
    let role = if here { Role::Accent } else { Role::Muted };
    let name = Rich::new().col(role, &field_of.label, label);
    match &field_of.value {
        Value::Text(input) => {
            let role = if field_of.error.is_some() && field_of.told {
                Role::Bad
            } else {
                Role::Text
            };
            field(canvas, area, row, name, input, role, here);
        }
        Value::Choice { options, at } => {
            let mut rich = name;
            for (i, option) in options.iter().enumerate() {
                let role = match (i == *at, here) {
                    (true, true) => Role::Badge,
                    (true, false) => Role::Text,
                    (false, _) => Role::Muted,
                };
                // Mark the choice without colour too.
                let (open, close) = if i == *at { ("‹", "›") } else { (" ", " ") };
                if i == *at || options.len() < 5 || here && i.abs_diff(*at) < 3 {
                    rich = rich
                        .add(role, format!("{open}{option}{close}"))
                        .add(Role::Text, " ");
                }
            }
            canvas.line(area, row, &rich);
        }
    }
}

/// Draws a text input: the end of the text stays visible while typing, and the cursor marks the
/// insertion point.
pub(super) fn field(
    canvas: &mut Canvas<'_>,
    area: Rect,
    row: u16,
    label: Rich,
    input: &Input,
    role: Role,
    here: bool,
) {
    let used = u16::try_from(label.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    canvas.line(area, row, &label);
    let space = Rect {
        x: area.x + used,
        y: area.y.saturating_add(row),
        width: area.width - used,
        height: u16::from(row < area.height),
    };
    if space.height == 0 || space.width == 0 {
        return;
    }
    let scroll = input.visual_scroll(usize::from(space.width.saturating_sub(1)));
    let mut skipped = 0;
    let shown: String = input
        .value()
        .chars()
        .skip_while(|c| {
            let skip = skipped < scroll;
            skipped += crate::domain::text::width(&c.to_string());
            skip
        })
        .collect();
    canvas.line(space, 0, &Rich::of(role, shown));
    if here {
        canvas.paint(space, Role::Selected);
        let at = u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(u16::MAX);
        canvas.cursor = Some((space.x.saturating_add(at).min(space.right() - 1), space.y));
    }
}
