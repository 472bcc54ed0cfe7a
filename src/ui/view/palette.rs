//! Draws the palette: the search text and its matches, best first.

use ratatui::layout::Rect;

use crate::domain::text::display_width as columns;
use crate::ui::{
    keymap::format_key,
    model::{Model, Palette, PaletteItem},
    theme::Role,
    widget::{Canvas, PointerTarget, RichText, TypedField, first_row},
};

use super::form::{InputLine, draw_input};

pub(super) fn draw_overlay(canvas: &mut Canvas<'_>, model: &Model, area: Rect, palette: &Palette) {
    let rows = || {
        palette
            .all
            .iter()
            .map(|(text, _)| text.split_once("  ").unwrap_or((text, "")))
    };
    let heads = rows()
        .map(|(head, _)| columns(head))
        .max()
        .unwrap_or(0)
        .max(20);
    let rests = rows().map(|(_, rest)| columns(rest)).max().unwrap_or(0);
    let area = palette_area(area, heads + rests + 6);
    let width = area.width;
    let facts = count_line(palette);
    canvas.add_target(area, PointerTarget::Palette);
    let inner = canvas.draw_modal(
        area,
        &RichText::styled(Role::Title, palette.title),
        &facts,
        &RichText::new(),
        Role::Focus,
    );
    let body = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let line = InputLine {
        label: RichText::styled(Role::Key, ": "),
        input: &palette.input,
        role: Role::Text,
        has_focus: true,
        field: TypedField::Line,
    };
    draw_input(canvas, body, 0, line);
    let list = Rect {
        y: inner.y + 1,
        height: inner.height.saturating_sub(1),
        ..inner
    };
    let room = usize::from(list.height);
    let top = first_row(Some(palette.at), palette.found.len(), room);
    let cursor = canvas.cursor;
    let places = palette
        .all
        .iter()
        .any(|(_, goal)| matches!(goal, PaletteItem::Cluster(_)));
    let most = usize::from(width)
        .saturating_sub(rests + 6)
        .max(usize::from(width) / 2);
    let column = if places { heads.min(most) } else { 20 };
    if palette.found.is_empty() {
        let line = RichText::styled(Role::Muted, &palette.none);
        canvas.draw_line(inset_rect(list), 0, &line);
    }
    for (row, i) in palette.found.iter().enumerate().skip(top).take(room) {
        let Some((text, goal)) = palette.all.get(*i) else {
            continue;
        };
        let y = u16::try_from(row - top).unwrap_or(u16::MAX);
        draw_item(canvas, model, list, y, (text, goal), column);
        let whole = Rect {
            y: list.y + y,
            height: 1,
            ..list
        };
        canvas.add_target(whole, PointerTarget::Row(row));
        if row == palette.at {
            canvas.paint_area(whole, Role::Selected);
        }
    }
    canvas.cursor = cursor;
}

/// As wide as its texts, because context names can be long.
fn palette_area(area: Rect, text: usize) -> Rect {
    let width = u16::try_from(text)
        .unwrap_or(u16::MAX)
        .max(88)
        .min(area.width.saturating_sub(4));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y,
        width,
        height: area.height.min(18),
    }
}

/// How many items match.
fn count_line(palette: &Palette) -> RichText {
    let rest = if palette.left_out > 0 {
        format!(", {} less alike", palette.left_out)
    } else {
        String::new()
    };
    RichText::styled(
        Role::Muted,
        format!("{} of {}{rest}", palette.found.len(), palette.all.len()),
    )
}

fn inset_rect(list: Rect) -> Rect {
    Rect {
        x: list.x + 1,
        width: list.width.saturating_sub(2),
        ..list
    }
}

/// Draws an item with its words in a column and its key at the end.
fn draw_item(
    canvas: &mut Canvas<'_>,
    model: &Model,
    list: Rect,
    y: u16,
    (text, goal): (&str, &PaletteItem),
    column: usize,
) {
    let (head, rest) = text.split_once("  ").unwrap_or((text, ""));
    let role = if matches!(goal, PaletteItem::Act(_) | PaletteItem::OwnCommand(_)) {
        Role::Text
    } else {
        Role::Accent
    };
    let line = RichText::new().add_column(
        role,
        head,
        if rest.is_empty() {
            head.chars().count()
        } else {
            column
        },
    );
    let line = line.add(Role::Text, "  ").add(Role::Muted, rest);
    let place = inset_rect(list);
    canvas.draw_line(place, y, &line);
    let key = match goal {
        PaletteItem::Act(action) => Some(model.options.keymap.key_anywhere(*action)),
        PaletteItem::OwnCommand(own) => Some(format_key(own.key)),
        _ => None,
    };
    if let Some(key) = key
        && line.width() + key.chars().count() + 2 < usize::from(place.width)
    {
        canvas.draw_line_right(place, y, &RichText::styled(Role::Key, key));
    }
}
