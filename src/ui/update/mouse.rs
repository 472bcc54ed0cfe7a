//! What clicks and the wheel do. A click never does more than a key at the same place: what changes
//! the cluster still asks first.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use tui_input::InputRequest;

use super::{
    act::{move_selection, perform_action},
    input::refresh_after_edit,
};
use crate::{
    domain::text::display_width,
    ui::{
        effect::Effect,
        form::Form,
        keymap::Action,
        model::{Model, Overlay, SortColumn},
        pane::Pane,
        question::Focus,
        view,
        widget::{PointerTarget, TypedField},
    },
};

/// Lines of a text that one step of the wheel scrolls by.
const WHEEL_LINES: isize = 3;

pub(in crate::ui) fn handle_mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let wheel = match event.kind {
        MouseEventKind::Down(MouseButton::Left) => None,
        MouseEventKind::ScrollUp => Some(-1),
        MouseEventKind::ScrollDown => Some(1),
        _ => return vec![],
    };
    if !model.options.mouse {
        return vec![];
    }
    // Found before the notice goes, because it covers a row.
    let found = view::find_pointer_target(model, event.column, event.row);
    model.noticed = true;
    match (found, wheel) {
        (Some((target, row)), None) => click_target(model, target, row, event.column),
        (Some((target, _)), Some(by)) => turn_wheel(model, target, by),
        (None, _) => vec![],
    }
}

fn click_target(
    model: &mut Model,
    target: PointerTarget,
    row: Option<usize>,
    column: u16,
) -> Vec<Effect> {
    match (target, row) {
        (PointerTarget::Heading(pane, by), _) => sort_by_heading(model, pane, by),
        (PointerTarget::Field(at), _) => change_form(model, |form| form.at = at),
        (PointerTarget::Choice { field, option }, _) => {
            change_form(model, |form| form.choose_option(field, option))
        }
        (
            PointerTarget::Typed {
                field,
                start,
                hidden,
            },
            _,
        ) => {
            let column = usize::from(column.saturating_sub(start)) + hidden;
            place_cursor(model, field, column)
        }
        (PointerTarget::Pane(pane), row) => click_pane(model, pane, row),
        (PointerTarget::Button(Focus::Yes), _) => perform_action(model, Action::Yes),
        (PointerTarget::Button(Focus::No), _) => model.close_overlay(),
        (PointerTarget::Palette, Some(row)) => click_palette(model, row),
        _ => vec![],
    }
}

/// Focuses a pane and selects the row; the one that was selected there is opened.
fn click_pane(model: &mut Model, pane: Pane, row: Option<usize>) -> Vec<Effect> {
    let was_focused = std::mem::replace(&mut model.pane, pane) == pane;
    let Some(row) = row else { return vec![] };
    if was_focused && model.row_position(pane).1 == Some(row) {
        return perform_action(model, Action::Open);
    }
    model.select_row(row);
    vec![]
}

/// Sorts a list by a column, or turns its order round where it is sorted by that column.
fn sort_by_heading(model: &mut Model, pane: Pane, column: SortColumn) -> Vec<Effect> {
    model.pane = pane;
    if let Some(list) = model.sortable_list(pane) {
        if model.sort_order(list).column == column {
            model.reverse_sort_order(list);
        } else {
            model.sort_by_column(list, column);
        }
    }
    vec![]
}

fn change_form(model: &mut Model, change: impl FnOnce(&mut Form)) -> Vec<Effect> {
    if let Some(Overlay::Form(form)) = model.overlays.last_mut() {
        change(form);
        refresh_after_edit(model);
    }
    vec![]
}

/// Focuses a text and places its cursor at a column.
fn place_cursor(model: &mut Model, field: TypedField, column: usize) -> Vec<Effect> {
    let input = match (field, model.overlays.last_mut()) {
        (TypedField::Form(at), Some(Overlay::Form(form))) => {
            form.at = at;
            form.current_input()
        }
        (TypedField::Question(focus), Some(Overlay::Confirm(question))) => {
            question.focus = focus;
            question.focused_input()
        }
        (TypedField::Line, Some(Overlay::Palette(palette))) => Some(&mut palette.input),
        (TypedField::Line, Some(Overlay::Filter(input, _))) => Some(input),
        (TypedField::Line, Some(Overlay::Prompt(prompt))) => Some(&mut prompt.input),
        _ => None,
    };
    if let Some(input) = input {
        let at = letter_at_column(input.value(), column);
        input.handle(InputRequest::SetCursor(at));
    }
    vec![]
}

/// Index of the letter that stands at a column of a text; beyond its end that of the end.
fn letter_at_column(text: &str, column: usize) -> usize {
    let mut end = 0;
    text.chars()
        .take_while(|c| {
            end += display_width(c.encode_utf8(&mut [0; 4]));
            end <= column
        })
        .count()
}

fn click_palette(model: &mut Model, row: usize) -> Vec<Effect> {
    match model.overlays.last_mut() {
        Some(Overlay::Palette(palette)) if palette.at == row => {
            perform_action(model, Action::Accept)
        }
        Some(Overlay::Palette(palette)) => {
            palette.at = row;
            vec![]
        }
        _ => vec![],
    }
}

/// Moves the selection of a list, or the lines of a text or a question.
fn turn_wheel(model: &mut Model, target: PointerTarget, by: isize) -> Vec<Effect> {
    match (target, model.overlays.last_mut()) {
        (PointerTarget::Pane(pane), None) => {
            let focused = std::mem::replace(&mut model.pane, pane);
            let effects = move_selection(model, by);
            model.pane = focused;
            effects
        }
        (PointerTarget::Text, Some(Overlay::Text(_))) => move_selection(model, by * WHEEL_LINES),
        (PointerTarget::Question { last }, Some(Overlay::Confirm(question))) => {
            let from = question.top.min(last);
            question.top = from.saturating_add_signed(by * WHEEL_LINES).min(last);
            vec![]
        }
        (PointerTarget::Palette, Some(Overlay::Palette(palette))) => {
            let last = palette.found.len().saturating_sub(1);
            palette.at = palette.at.saturating_add_signed(by).min(last);
            vec![]
        }
        _ => vec![],
    }
}
