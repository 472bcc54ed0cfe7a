//! Draws a form: labelled fields, errors below each field, and a preview of the change.

use ratatui::layout::Rect;
use tui_input::Input;

use super::confirm::remark_line;
use crate::domain::text::display_width as columns;
use crate::ui::{
    form::{FieldValue, Form, FormField},
    keymap::{Action, KeyContext},
    model::Model,
    theme::Role,
    widget::{
        Canvas, PointerTarget, RichText, TypedField, centre_rect, columns_of_line, first_row,
        wrap_words,
    },
};

pub(super) fn draw_overlay(canvas: &mut Canvas<'_>, model: &Model, area: Rect, form: &Form) {
    let label = form
        .fields
        .iter()
        .map(|f| f.label.chars().count())
        .max()
        .unwrap_or(6)
        .clamp(6, 20)
        + 2;
    let width = form_width(form, label, area.width);
    let text = usize::from(width).saturating_sub(4);
    let rows = list_rows(form);
    let remarks: Vec<RichText> = form
        .remarks
        .iter()
        .flat_map(|r| wrap_remark(r, text))
        .collect();
    let gap = usize::from(!remarks.is_empty());
    let wanted = rows.len() + 2 + gap + remarks.len() + 2;
    let area = centre_rect(
        area,
        width,
        u16::try_from(wanted).unwrap_or(u16::MAX).min(area.height),
    );
    let role = if form.shows_error() {
        Role::Bad
    } else {
        Role::Focus
    };
    let title = RichText::styled(Role::Title, &form.title);
    let foot = key_line(model, form);
    let inner = canvas.draw_modal(area, &title, &RichText::new(), &foot, role);
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
    let top = first_row(here, rows.len(), room);
    let mut row = 0u16;
    for (i, note) in rows.iter().skip(top).take(room) {
        let Some(found) = form.fields.get(*i) else {
            continue;
        };
        match note {
            Some(note) => {
                canvas.draw_line(
                    body,
                    row,
                    &RichText::new()
                        .pad_to(label)
                        .add(Role::Bad, format!("✗ {note}")),
                );
            }
            None => draw_field_row(canvas, body, row, (*i, found), label, *i == form.at),
        }
        row += 1;
    }
    canvas.draw_line(body, row + 1, &hint_line(model, form, label));
    let row = row + 2 + u16::from(gap > 0);
    if gap > 0 {
        canvas.draw_line(
            body,
            row - 1,
            &RichText::styled(
                Role::Border,
                model.options.glyphs.rule.repeat(usize::from(body.width)),
            ),
        );
    }
    for (row, remark) in (row..).zip(remarks.iter().take(spare)) {
        canvas.draw_line(body, row, remark);
    }
}

/// Hints must fit on one line.
fn form_width(form: &Form, label: usize, most: u16) -> u16 {
    let hint = form
        .fields
        .iter()
        .map(|f| columns(&f.hint))
        .max()
        .unwrap_or(0)
        + label
        + 4;
    u16::try_from(hint)
        .unwrap_or(u16::MAX)
        .max(96)
        .min(most.saturating_sub(4))
}

/// The fields by index, each followed by its error if that is shown.
fn list_rows(form: &Form) -> Vec<(usize, Option<String>)> {
    form.fields
        .iter()
        .enumerate()
        .flat_map(|(i, f)| {
            let note = f
                .error
                .clone()
                .filter(|_| f.touched || form.tried)
                .map(|e| (i, Some(e)));
            std::iter::once((i, None)).chain(note)
        })
        .collect()
}

fn key_line(model: &Model, form: &Form) -> RichText {
    let key = |action| model.options.keymap.key_within(KeyContext::Form, action);
    RichText::styled(Role::Key, key(Action::NextField))
        .add(Role::Muted, " next  ")
        .add(Role::Key, key(Action::Submit))
        .add(Role::Muted, format!(" {}  ", form.kind.submit_word()))
        .add(Role::Key, key(Action::Back))
        .add(Role::Muted, " leave")
}

/// The hint of the current field, and the keys of a choice.
fn hint_line(model: &Model, form: &Form, label: usize) -> RichText {
    let key = |action| model.options.keymap.key_within(KeyContext::Form, action);
    let mut hint = RichText::new().pad_to(label);
    if let Some(field) = form.fields.get(form.at) {
        if let FieldValue::Choice { .. } = field.value {
            let keys = format!(
                "{} {}",
                key(Action::PreviousChoice),
                key(Action::NextChoice)
            );
            hint = hint.add(Role::Key, keys).add(Role::Muted, " choose  ");
        }
        hint = hint.add(Role::Muted, &field.hint);
    }
    hint
}

fn wrap_remark(of: &crate::ui::form::Remark, width: usize) -> Vec<RichText> {
    let whole = remark_line(of);
    let role = whole.runs.first().map_or(Role::Text, |(role, _)| *role);
    if whole.width() <= width {
        return vec![whole];
    }
    let lines = wrap_words(&whole.plain_text(), width.saturating_sub(2));
    let indents = std::iter::once("").chain(std::iter::repeat("  "));
    let parts = indents.zip(lines);
    parts
        .map(|(indent, part)| RichText::styled(role, indent).add(role, part))
        .collect()
}

fn draw_field_row(
    canvas: &mut Canvas<'_>,
    area: Rect,
    row: u16,
    (at, field): (usize, &FormField),
    label: usize,
    has_focus: bool,
) {
    let line = Rect {
        y: area.y.saturating_add(row),
        height: u16::from(row < area.height),
        ..area
    };
    canvas.add_target(line, PointerTarget::Field(at));
    let role = if has_focus { Role::Accent } else { Role::Muted };
    let name = RichText::new().add_column(role, &field.label, label);
    match &field.value {
        FieldValue::Text(input) => {
            let role = if field.error.is_some() && field.touched {
                Role::Bad
            } else {
                Role::Text
            };
            let line = InputLine {
                label: name,
                input,
                role,
                has_focus,
                field: TypedField::Form(at),
            };
            draw_input(canvas, area, row, line);
        }
        FieldValue::Choice {
            options,
            at: chosen,
        } => {
            let mut rich = name;
            for (option, text) in options.iter().enumerate() {
                let role = match (option == *chosen, has_focus) {
                    (true, true) => Role::Badge,
                    (true, false) => Role::Text,
                    (false, _) => Role::Muted,
                };
                // Mark the choice without colour too.
                let (open, close) = if option == *chosen {
                    ("‹", "›")
                } else {
                    (" ", " ")
                };
                if option == *chosen
                    || options.len() < 5
                    || has_focus && option.abs_diff(*chosen) < 3
                {
                    let left = rich.width();
                    rich = rich.add(role, format!("{open}{text}{close}"));
                    let place = columns_of_line(line, left, rich.width() - left);
                    canvas.add_target(place, PointerTarget::Choice { field: at, option });
                    rich = rich.add(Role::Text, " ");
                }
            }
            canvas.draw_line(area, row, &rich);
        }
    }
}

/// A text that is typed, with its label.
pub(super) struct InputLine<'a> {
    pub(super) label: RichText,
    pub(super) input: &'a Input,
    pub(super) role: Role,
    pub(super) has_focus: bool,
    pub(super) field: TypedField,
}

/// Draws a text input: the end of the text stays visible while typing, and the cursor marks the
/// insertion point.
pub(super) fn draw_input(canvas: &mut Canvas<'_>, area: Rect, row: u16, line: InputLine<'_>) {
    let used = u16::try_from(line.label.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    canvas.draw_line(area, row, &line.label);
    let space = Rect {
        x: area.x + used,
        y: area.y.saturating_add(row),
        width: area.width - used,
        height: u16::from(row < area.height),
    };
    if space.height == 0 || space.width == 0 {
        return;
    }
    let input = line.input;
    let scroll = input.visual_scroll(usize::from(space.width.saturating_sub(1)));
    let mut skipped = 0;
    let shown: String = input
        .value()
        .chars()
        .skip_while(|c| {
            let skip = skipped < scroll;
            skipped += columns(&c.to_string());
            skip
        })
        .collect();
    canvas.draw_line(space, 0, &RichText::styled(line.role, shown));
    let target = PointerTarget::Typed {
        field: line.field,
        start: space.x,
        hidden: scroll,
    };
    canvas.add_target(space, target);
    if line.has_focus {
        canvas.paint_area(space, Role::Selected);
        let at = u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(u16::MAX);
        canvas.cursor = Some((space.x.saturating_add(at).min(space.right() - 1), space.y));
    }
}
