//! The last line: the keys that work here. Above it, for a while, the newest notice.

use ratatui::layout::Rect;
use tui_input::Input;

use crate::domain::text::truncate;
use crate::ui::{
    keymap::{Action, KeyContext},
    model::{Level, Model, Overlay, Prompt, PromptKind},
    theme::Role,
    update::is_available,
    widget::{Canvas, PointerTarget, RichText, TypedField, columns_of_line},
};

/// Seconds that a notice stays, unless a key is pressed first.
const NOTICE_SECONDS: i64 = 8;

/// Role of a notice.
pub(super) const fn level_role(level: Level) -> Role {
    match level {
        Level::Good => Role::Ok,
        Level::Info => Role::Accent,
        Level::Warn => Role::Warn,
        Level::Bad => Role::Bad,
    }
}

pub(super) fn draw_footer(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let mut left = area;
    if let Some(pending) = model.pending.values().next() {
        let more = model.pending.len() - 1;
        let more = if more > 0 {
            format!(" +{more}")
        } else {
            String::new()
        };
        let words = format!(" {}{more} ", pending.words);
        let line = RichText::styled(Role::Busy, model.options.glyphs.spinner_frame(model.beat))
            .add(Role::Text, words);
        let width = u16::try_from(line.width())
            .unwrap_or(area.width)
            .min(area.width);
        left.width = (area.width - width).saturating_sub(1);
        canvas.draw_line_right(area, 0, &line);
    }
    canvas.draw_line(left, 0, &key_hints(model, usize::from(left.width)));
}

/// Draws the newest notice on the last line of the body.
pub(super) fn draw_notice(canvas: &mut Canvas<'_>, model: &Model, body: Rect) {
    let newest = model.notices.front().filter(|_| !model.noticed);
    let Some(notice) =
        newest.filter(|n| model.now.duration_since(n.time).as_secs() < NOTICE_SECONDS)
    else {
        return;
    };
    let area = Rect {
        y: body.bottom().saturating_sub(1),
        height: 1,
        ..body
    };
    let glyphs = &model.options.glyphs;
    let sign = match notice.level {
        Level::Good => glyphs.ok,
        Level::Info => glyphs.dot,
        Level::Warn => glyphs.warn,
        Level::Bad => glyphs.bad,
    };
    let more = RichText::styled(
        Role::Key,
        format!("  {}", model.options.keymap.key_anywhere(Action::Notices)),
    );
    let more = more.add(Role::Muted, " details ");
    let room = usize::from(area.width);
    let line = RichText::styled(level_role(notice.level), format!(" {sign} {}", notice.text));
    // Text that is cut here is complete in the notices.
    let line = if notice.detail.is_empty() && line.width() < room {
        line
    } else {
        let text = truncate(&notice.text, room.saturating_sub(more.width() + 3)).into_owned();
        RichText::styled(level_role(notice.level), format!(" {sign} {text}")).join(more)
    };
    canvas.clear_area(area);
    canvas.add_target(area, PointerTarget::Cover);
    canvas.draw_line(area, 0, &line);
}

/// Hints for the active key contexts, as many as fit; help and quit always.
fn key_hints(model: &Model, room: usize) -> RichText {
    let contexts = model.active_contexts();
    let hint = |action: Action, contexts: &[KeyContext]| {
        let key = model.options.keymap.first_key(contexts, action)?;
        Some(
            RichText::styled(Role::Key, format!(" {key}"))
                .add(Role::Muted, format!(" {} ", action.hint())),
        )
    };
    let always: &[Action] = if model.overlays.is_empty() {
        &[Action::Help, Action::Quit]
    } else {
        &[Action::Back]
    };
    let tail = always
        .iter()
        .filter_map(|a| hint(*a, &contexts))
        .fold(RichText::new(), RichText::join);
    let mut line = RichText::new();
    let mut said: Vec<&str> = always.iter().map(|a| a.hint()).collect();
    for context in &contexts {
        for binding in model
            .options
            .keymap
            .bindings()
            .iter()
            .filter(|b| b.context == *context)
        {
            let action = binding.action;
            if action.hint().is_empty()
                || said.contains(&action.hint())
                || !is_available(model, action)
            {
                continue;
            }
            if let Some(part) = hint(action, &[*context]) {
                if line.width() + part.width() + tail.width() > room {
                    return line.join(tail);
                }
                said.push(action.hint());
                line = line.join(part);
            }
        }
    }
    line.join(tail)
}

/// Draws the filter input in place of the footer.
pub(super) fn draw_filter(canvas: &mut Canvas<'_>, model: &Model, area: Rect, input: &Input) {
    let sign = match model.overlays.first() {
        Some(Overlay::Text(_)) => "&",
        _ => "/",
    };
    draw_input(canvas, model, area, input, sign, "! inverts it");
}

/// Draws the line in which a word to search or a file name is typed.
pub(super) fn draw_prompt(canvas: &mut Canvas<'_>, model: &Model, area: Rect, prompt: &Prompt) {
    let (sign, words) = match prompt.kind {
        PromptKind::Search { .. } => ("/", "keeps all lines"),
        PromptKind::Save => ("save to", "a new file"),
    };
    draw_input(canvas, model, area, &prompt.input, sign, words);
}

/// Draws an input in place of the footer; a long one is shown around its cursor.
fn draw_input(
    canvas: &mut Canvas<'_>,
    model: &Model,
    area: Rect,
    input: &Input,
    sign: &str,
    words: &str,
) {
    canvas.clear_area(area);
    canvas.paint_area(area, Role::Selected);
    let lead = RichText::styled(Role::Key, format!(" {sign} "));
    let room = usize::from(area.width).saturating_sub(lead.width() + 1);
    let hidden = (input.visual_cursor() + 1).saturating_sub(room);
    let typed = RichText::styled(Role::Text, input.value()).skip_columns(hidden);
    let lead_width = lead.width();
    let at = lead_width + input.visual_cursor().saturating_sub(hidden);
    let line = lead.join(typed);
    canvas.draw_line(area, 0, &line);
    let key = |action| {
        format!(
            "   {}",
            model.options.keymap.key_within(KeyContext::Line, action)
        )
    };
    let hint = RichText::styled(Role::Muted, words)
        .add(Role::Key, key(Action::Accept))
        .add(Role::Muted, " keeps");
    let hint = hint
        .add(Role::Key, key(Action::Back))
        .add(Role::Muted, " undoes ");
    if line.width() + hint.width() + 2 < usize::from(area.width) {
        canvas.draw_line_right(area, 0, &hint);
    }
    let column = |at: usize| area.x.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
    let target = PointerTarget::Typed {
        field: TypedField::Line,
        start: column(lead_width),
        hidden,
    };
    let typed = columns_of_line(area, lead_width, usize::from(area.width));
    canvas.add_target(typed, target);
    let x = column(at);
    canvas.cursor = Some((x.min(area.right().saturating_sub(1)), area.y));
}

/// Whether a text overlay has the keys.
pub(super) fn shows_text(model: &Model) -> bool {
    matches!(
        model.overlays.last(),
        Some(Overlay::Text(_) | Overlay::Filter(..) | Overlay::Prompt(_))
    )
}
