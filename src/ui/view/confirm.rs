//! Draws a confirmation dialog: everything that will be done. The default is No.

use ratatui::layout::Rect;

use crate::domain::text::age;
use crate::ui::{
    form::Remark,
    keymap::{Action, Context},
    model::Model,
    question::{Focus, Question},
    theme::Role,
    widget::{Canvas, Rich, centred, wrap},
};

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, question: &Question) {
    let width = area.width.saturating_sub(4).min(92);
    let text = usize::from(width).saturating_sub(4);
    let lines = lines(model, question, text);
    let foot = u16::from(question.typed.is_some()) + u16::from(question.comment.is_some()) + 3;
    let height = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(foot + 2)
        .min(area.height);
    let area = centred(area, width, height);
    let role = if question.stale.is_some() {
        Role::Bad
    } else {
        Role::Warn
    };
    let glyphs = &model.options.glyphs;
    let title = Rich::of(role, format!("{} ", glyphs.warn)).add(Role::Title, &question.title);
    let inner = canvas.modal(area, &title, &Rich::new(), &versions(question), role);
    let body = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let room = body.height.saturating_sub(foot);
    let over = lines.len().saturating_sub(usize::from(room));
    let first = question.top.min(over);
    for (i, line) in lines.iter().skip(first).take(usize::from(room)).enumerate() {
        canvas.line(body, u16::try_from(i).unwrap_or(u16::MAX), line);
    }
    if over > 0 {
        let key = |action| model.options.keymap.within(Context::Confirm, action);
        let (up, down) = (key(Action::Up), key(Action::Down));
        let last = first + usize::from(room);
        let words = format!(
            "{}-{last} of {} lines, {up} and {down} scroll",
            first + 1,
            lines.len()
        );
        canvas.line_right(
            Rect {
                y: inner.y + room,
                height: 1,
                ..body
            },
            0,
            &Rich::of(Role::Muted, words),
        );
    }
    let mut row = room + 1;
    if let Some((name, input)) = &question.typed {
        let done = question.is_typed();
        let label = Rich::of(Role::Warn, "type ")
            .add(Role::Title, name)
            .add(Role::Warn, " to confirm  ");
        let role = if done { Role::Ok } else { Role::Text };
        super::form::field(
            canvas,
            body,
            row,
            label,
            input,
            role,
            question.focus == Focus::Typed,
        );
        row += 1;
    }
    if let Some(input) = &question.comment {
        let label = Rich::of(Role::Muted, "comment  ");
        super::form::field(
            canvas,
            body,
            row,
            label,
            input,
            Role::Text,
            question.focus == Focus::Comment,
        );
        row += 1;
    }
    canvas.line(
        body,
        row + 1,
        &buttons(model, question, usize::from(body.width)),
    );
}

/// The versions seen: `as seen: spring-cloud-a-7 (resourceVersion 4711)`.
fn versions(question: &Question) -> Rich {
    let seen: Vec<String> = question
        .objects
        .iter()
        .map(|o| format!("{} (resourceVersion {})", o.name, o.version))
        .collect();
    if seen.is_empty() {
        Rich::new()
    } else {
        Rich::of(Role::Muted, format!("as seen: {}", seen.join(", ")))
    }
}

fn lines(model: &Model, question: &Question, width: usize) -> Vec<Rich> {
    let glyphs = &model.options.glyphs;
    let mut lines = vec![];
    if let Some(stale) = &question.stale {
        let key = model
            .options
            .keymap
            .within(Context::Confirm, Action::LookAgain);
        let told = wrap(stale, width.saturating_sub(2)).into_iter();
        lines.extend(told.map(|part| Rich::of(Role::Alarm, format!(" {part} "))));
        lines.push(Rich::of(Role::Bad, "Nothing can be confirmed any more."));
        lines.push(Rich::of(Role::Key, key).add(Role::Text, " looks again."));
        lines.push(Rich::new());
    }
    if let Some((since, trouble, _)) = model.world.link.stale() {
        let old = age(model.now, since);
        let words = format!(
            " {} What is shown is {old} old: {}. ",
            glyphs.warn,
            trouble.told()
        );
        lines.extend([Rich::of(Role::Alarm, words), Rich::new()]);
    }
    let mut section = |head: &str, each: &[String], role: Role, sign: &str| {
        if each.is_empty() {
            return;
        }
        if lines.last().is_some_and(|last: &Rich| last.width() > 0) {
            lines.push(Rich::new());
        }
        if !head.is_empty() {
            lines.push(Rich::of(Role::Accent, head));
        }
        for words in each {
            for (i, part) in wrap(words, width.saturating_sub(2)).into_iter().enumerate() {
                let sign = if i == 0 {
                    format!("{sign} ")
                } else {
                    "  ".into()
                };
                lines.push(Rich::of(role, sign).add(role, part));
            }
        }
    };
    section("", &question.alarms, Role::Bad, glyphs.bad);
    section("", &question.doubts, Role::Warn, glyphs.warn);
    section(
        "What will happen",
        &question.happens,
        Role::Text,
        glyphs.dot,
    );
    if !question.facts.is_empty() && !lines.is_empty() {
        lines.extend([Rich::new(), Rich::of(Role::Accent, "As things are now")]);
    }
    let label = question
        .facts
        .iter()
        .map(|(l, _)| l.len())
        .max()
        .unwrap_or(0)
        + 2;
    let mut last = "";
    for (name, words) in &question.facts {
        for (i, part) in wrap(words, width.saturating_sub(label))
            .into_iter()
            .enumerate()
        {
            let shown = if i == 0 && name != last {
                name.as_str()
            } else {
                ""
            };
            lines.push(
                Rich::new()
                    .col(Role::Muted, shown, label)
                    .add(Role::Text, part),
            );
        }
        last = name;
    }
    lines.extend(diff(question));
    if !question.kubectl.is_empty() {
        lines.extend([
            Rich::new(),
            Rich::of(Role::Accent, "The same without this screen"),
        ]);
    }
    for command in &question.kubectl {
        let told = command.lines(width.saturating_sub(2)).into_iter();
        lines.extend(told.map(|part| Rich::of(Role::Muted, format!("  {part}"))));
    }
    lines
}

fn diff(question: &Question) -> Vec<Rich> {
    if question.diff.is_empty() {
        return vec![];
    }
    let mut lines = vec![Rich::new(), Rich::of(Role::Accent, "What changes")];
    lines.extend(question.diff.iter().map(remark));
    lines
}

/// One line below a form or in a question.
pub(super) fn remark(remark: &Remark) -> Rich {
    match remark {
        Remark::Wrong(text) => Rich::of(Role::Bad, format!("✗ {text}")),
        Remark::Doubt(text) => Rich::of(Role::Warn, format!("▲ {text}")),
        Remark::Fact(text) => Rich::of(Role::Muted, format!("· {text}")),
        Remark::Minus(text) => Rich::of(Role::Bad, format!("- {text}")),
        Remark::Plus(text) => Rich::of(Role::Ok, format!("+ {text}")),
    }
}

fn buttons(model: &Model, question: &Question, width: usize) -> Rich {
    let button = |focus: Focus, words: &str, may: bool| {
        let here = question.focus == focus;
        let role = match (here, may) {
            (true, _) => Role::Badge,
            (false, true) => Role::Text,
            (false, false) => Role::Muted,
        };
        let (open, close) = if here { ("[", "]") } else { (" ", " ") };
        Rich::of(role, format!("{open} {words} {close}"))
    };
    let line = button(Focus::No, "No, leave it", true).add(Role::Text, "   ");
    let line = line.join(button(Focus::Yes, &question.verb, question.may()));
    if question.stale.is_some() {
        return line;
    }
    let key = |action| {
        format!(
            "   {}",
            model.options.keymap.within(Context::Confirm, action)
        )
    };
    let hint = match (&question.typed, question.focus) {
        (Some((name, _)), Focus::Typed) if !question.is_typed() => {
            Rich::of(Role::Muted, format!("   type {name}, then"))
                .add(Role::Key, &key(Action::Press)[2..])
        }
        (Some(_), Focus::Typed) => {
            Rich::of(Role::Key, key(Action::Press)).add(Role::Muted, " does it")
        }
        (Some(_), _) if !question.may() => Rich::new(),
        _ => Rich::of(Role::Key, key(Action::Yes)).add(Role::Muted, " yes"),
    };
    if line.width() + hint.width() <= width {
        line.join(hint)
    } else {
        line
    }
}
