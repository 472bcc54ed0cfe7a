//! Draws a confirmation dialog: everything that will be done. The default is No.

use ratatui::layout::Rect;

use super::form::{InputLine, draw_input};
use crate::domain::text::format_age;
use crate::ui::{
    form::Remark,
    keymap::{Action, KeyContext},
    model::Model,
    question::{Focus, Question},
    theme::Role,
    widget::{
        Canvas, PointerTarget, RichText, TypedField, centre_rect, columns_of_line, wrap_words,
    },
};

pub(super) fn draw_overlay(
    canvas: &mut Canvas<'_>,
    model: &Model,
    area: Rect,
    question: &Question,
) {
    let width = area.width.saturating_sub(4).min(92);
    let text = usize::from(width).saturating_sub(4);
    let lines = question_lines(model, question, text);
    let foot = u16::from(question.typed.is_some()) + u16::from(question.comment.is_some()) + 3;
    let height = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(foot + 2)
        .min(area.height);
    let area = centre_rect(area, width, height);
    let role = if question.stale.is_some() {
        Role::Bad
    } else {
        Role::Warn
    };
    let glyphs = &model.options.glyphs;
    let title =
        RichText::styled(role, format!("{} ", glyphs.warn)).add(Role::Title, &question.title);
    let inner = canvas.draw_modal(
        area,
        &title,
        &RichText::new(),
        &seen_versions(question),
        role,
    );
    let body = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let room = body.height.saturating_sub(foot);
    let over = lines.len().saturating_sub(usize::from(room));
    let first = question.top.min(over);
    canvas.add_target(area, PointerTarget::Question { last: over });
    for (i, line) in lines.iter().skip(first).take(usize::from(room)).enumerate() {
        canvas.draw_line(body, u16::try_from(i).unwrap_or(u16::MAX), line);
    }
    draw_position(
        canvas,
        model,
        Rect {
            height: room,
            ..body
        },
        first,
        lines.len(),
    );
    let mut row = room + 1;
    if let Some((name, input)) = &question.typed {
        let done = question.is_typed();
        let label = RichText::styled(Role::Warn, "type ")
            .add(Role::Title, name)
            .add(Role::Warn, " to confirm  ");
        let role = if done { Role::Ok } else { Role::Text };
        let line = InputLine {
            label,
            input,
            role,
            has_focus: question.focus == Focus::Typed,
            field: TypedField::Question(Focus::Typed),
        };
        draw_input(canvas, body, row, line);
        row += 1;
    }
    if let Some(input) = &question.comment {
        let line = InputLine {
            label: RichText::styled(Role::Muted, "comment  "),
            input,
            role: Role::Text,
            has_focus: question.focus == Focus::Comment,
            field: TypedField::Question(Focus::Comment),
        };
        draw_input(canvas, body, row, line);
        row += 1;
    }
    draw_buttons(canvas, model, question, body, row + 1);
}

/// Tells which lines are shown, below them, if not all are.
fn draw_position(canvas: &mut Canvas<'_>, model: &Model, shown: Rect, first: usize, all: usize) {
    if all <= usize::from(shown.height) {
        return;
    }
    let key = |action| model.options.keymap.key_within(KeyContext::Confirm, action);
    let (up, down) = (key(Action::Up), key(Action::Down));
    let last = first + usize::from(shown.height);
    let words = format!(
        "{}-{last} of {all} lines, {up} and {down} scroll",
        first + 1,
    );
    canvas.draw_line_right(
        Rect {
            y: shown.y + shown.height,
            height: 1,
            ..shown
        },
        0,
        &RichText::styled(Role::Muted, words),
    );
}

/// The versions seen: `as seen: spring-cloud-a-7 (resourceVersion 4711)`.
fn seen_versions(question: &Question) -> RichText {
    let seen: Vec<String> = question
        .objects
        .iter()
        .map(|o| format!("{} (resourceVersion {})", o.name, o.version))
        .collect();
    if seen.is_empty() {
        RichText::new()
    } else {
        RichText::styled(Role::Muted, format!("as seen: {}", seen.join(", ")))
    }
}

fn question_lines(model: &Model, question: &Question, width: usize) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let mut lines = vec![];
    lines.extend(stale_lines(model, question, width));
    add_section(
        &mut lines,
        "",
        &question.alarms,
        (Role::Bad, glyphs.bad),
        width,
    );
    add_section(
        &mut lines,
        "",
        &question.doubts,
        (Role::Warn, glyphs.warn),
        width,
    );
    let happens = ("What will happen", &question.happens);
    add_section(
        &mut lines,
        happens.0,
        happens.1,
        (Role::Text, glyphs.dot),
        width,
    );
    if !question.facts.is_empty() && !lines.is_empty() {
        lines.extend([
            RichText::new(),
            RichText::styled(Role::Accent, "As things are now"),
        ]);
    }
    lines.extend(fact_lines(question, width));
    lines.extend(diff_lines(question));
    if !question.kubectl.is_empty() {
        lines.extend([
            RichText::new(),
            RichText::styled(Role::Accent, "The same without this screen"),
        ]);
    }
    for command in &question.kubectl {
        let told = command.wrap_lines(width.saturating_sub(2)).into_iter();
        lines.extend(told.map(|part| RichText::styled(Role::Muted, format!("  {part}"))));
    }
    lines
}

/// What cannot be relied on any more.
fn stale_lines(model: &Model, question: &Question, width: usize) -> Vec<RichText> {
    let (glyphs, mut lines) = (&model.options.glyphs, vec![]);
    if let Some(stale) = &question.stale {
        let key = model
            .options
            .keymap
            .key_within(KeyContext::Confirm, Action::LookAgain);
        let told = wrap_words(stale, width.saturating_sub(2)).into_iter();
        lines.extend(told.map(|part| RichText::styled(Role::Alarm, format!(" {part} "))));
        lines.push(RichText::styled(
            Role::Bad,
            "Nothing can be confirmed any more.",
        ));
        lines.push(RichText::styled(Role::Key, key).add(Role::Text, " looks again."));
        lines.push(RichText::new());
    }
    if let Some((since, trouble, _)) = model.world.link.stale_since() {
        let old = format_age(model.now, since);
        let words = format!(
            " {} What is shown is {old} old: {}. ",
            glyphs.warn,
            trouble.as_sentence()
        );
        lines.extend([RichText::styled(Role::Alarm, words), RichText::new()]);
    }
    lines
}

/// Adds a part of a question, each of its texts with a sign.
fn add_section(
    lines: &mut Vec<RichText>,
    head: &str,
    each: &[String],
    (role, sign): (Role, &str),
    width: usize,
) {
    if each.is_empty() {
        return;
    }
    if lines.last().is_some_and(|last: &RichText| last.width() > 0) {
        lines.push(RichText::new());
    }
    if !head.is_empty() {
        lines.push(RichText::styled(Role::Accent, head));
    }
    for words in each {
        for (i, part) in wrap_words(words, width.saturating_sub(2))
            .into_iter()
            .enumerate()
        {
            let sign = if i == 0 {
                format!("{sign} ")
            } else {
                "  ".into()
            };
            lines.push(RichText::styled(role, sign).add(role, part));
        }
    }
}

fn fact_lines(question: &Question, width: usize) -> Vec<RichText> {
    let mut lines = vec![];
    let label = question
        .facts
        .iter()
        .map(|(l, _)| l.len())
        .max()
        .unwrap_or(0)
        + 2;
    let mut last = "";
    for (name, words) in &question.facts {
        for (i, part) in wrap_words(words, width.saturating_sub(label))
            .into_iter()
            .enumerate()
        {
            let shown = if i == 0 && name != last {
                name.as_str()
            } else {
                ""
            };
            lines.push(
                RichText::new()
                    .add_column(Role::Muted, shown, label)
                    .add(Role::Text, part),
            );
        }
        last = name;
    }
    lines
}

fn diff_lines(question: &Question) -> Vec<RichText> {
    if question.diff.is_empty() {
        return vec![];
    }
    let mut lines = vec![
        RichText::new(),
        RichText::styled(Role::Accent, "What changes"),
    ];
    lines.extend(question.diff.iter().map(remark_line));
    lines
}

/// One line below a form or in a question.
pub(super) fn remark_line(remark: &Remark) -> RichText {
    match remark {
        Remark::Wrong(text) => RichText::styled(Role::Bad, format!("✗ {text}")),
        Remark::Doubt(text) => RichText::styled(Role::Warn, format!("▲ {text}")),
        Remark::Fact(text) => RichText::styled(Role::Muted, format!("· {text}")),
        Remark::Minus(text) => RichText::styled(Role::Bad, format!("- {text}")),
        Remark::Plus(text) => RichText::styled(Role::Ok, format!("+ {text}")),
    }
}

fn draw_buttons(canvas: &mut Canvas<'_>, model: &Model, question: &Question, body: Rect, row: u16) {
    let [no, yes] = buttons(question);
    let line = Rect {
        y: body.y + row,
        height: u16::from(row < body.height),
        ..body
    };
    let places = [
        (Focus::No, 0, no.width()),
        (Focus::Yes, no.width() + BUTTON_GAP.len(), yes.width()),
    ];
    for (focus, left, width) in places {
        let place = columns_of_line(line, left, width);
        canvas.add_target(place, PointerTarget::Button(focus));
    }
    let shown = no.add(Role::Text, BUTTON_GAP).join(yes);
    let width = usize::from(body.width);
    canvas.draw_line(body, row, &add_key_hint(model, question, shown, width));
}

/// What is between the two buttons.
const BUTTON_GAP: &str = "   ";

/// No and Yes.
fn buttons(question: &Question) -> [RichText; 2] {
    let button = |focus: Focus, words: &str, may: bool| {
        let here = question.focus == focus;
        let role = match (here, may) {
            (true, _) => Role::Badge,
            (false, true) => Role::Text,
            (false, false) => Role::Muted,
        };
        let (open, close) = if here { ("[", "]") } else { (" ", " ") };
        RichText::styled(role, format!("{open} {words} {close}"))
    };
    [
        button(Focus::No, "No, leave it", true),
        button(Focus::Yes, &question.verb, question.can_confirm()),
    ]
}

/// Adds the key that confirms, where it has room beside the buttons.
fn add_key_hint(model: &Model, question: &Question, line: RichText, width: usize) -> RichText {
    if question.stale.is_some() {
        return line;
    }
    let key = |action| {
        format!(
            "   {}",
            model.options.keymap.key_within(KeyContext::Confirm, action)
        )
    };
    let hint = match (&question.typed, question.focus) {
        (Some((name, _)), Focus::Typed) if !question.is_typed() => {
            RichText::styled(Role::Muted, format!("   type {name}, then"))
                .add(Role::Key, &key(Action::Press)[2..])
        }
        (Some(_), Focus::Typed) => {
            RichText::styled(Role::Key, key(Action::Press)).add(Role::Muted, " does it")
        }
        (Some(_), _) if !question.can_confirm() => RichText::new(),
        _ => RichText::styled(Role::Key, key(Action::Yes)).add(Role::Muted, " yes"),
    };
    if line.width() + hint.width() <= width {
        line.join(hint)
    } else {
        line
    }
}
