//! Reading a text: search, wrap, columns further left and right, and saving it.

use tui_input::Input;

use crate::ui::{
    effect::{Effect, Query},
    model::{Level, Model, Overlay, Prompt, PromptKind, Source, Text},
    view::{self, TextRows},
};

/// Columns that one key goes left or right.
const COLUMN_STEP: usize = 16;

fn top_text(model: &Model) -> Option<&Text> {
    match model.overlays.last() {
        Some(Overlay::Text(text)) => Some(text),
        _ => None,
    }
}

/// Changes the topmost text, which sees the model without itself.
fn change_text(model: &mut Model, change: impl FnOnce(&mut Model, &mut Text)) {
    match model.overlays.pop() {
        Some(Overlay::Text(mut text)) => {
            change(model, &mut text);
            model.overlays.push(Overlay::Text(text));
        }
        Some(other) => model.overlays.push(other),
        None => {}
    }
}

pub(in crate::ui) fn open_search(model: &mut Model) -> Vec<Effect> {
    if let Some(text) = top_text(model) {
        let kind = PromptKind::Search {
            before: text.search.clone(),
            top: text.top,
            follow: text.follow,
        };
        let input = Input::default();
        let prompt = Prompt { kind, input };
        model.overlays.push(Overlay::Prompt(Box::new(prompt)));
    }
    vec![]
}

/// Searches the word that is being typed, from where the text stood.
pub(in crate::ui) fn search_typed_word(model: &mut Model) {
    let Some(Overlay::Prompt(prompt)) = model.overlays.pop() else {
        return;
    };
    if let PromptKind::Search { top, follow, .. } = &prompt.kind {
        let (word, top, follow) = (prompt.input.value().to_owned(), *top, *follow);
        change_text(model, |model, text| {
            (text.search, text.found) = (word, None);
            (text.top, text.follow) = (top, follow);
            if !text.search.is_empty() {
                show_match(model, text, false);
            }
        });
    }
    model.overlays.push(Overlay::Prompt(prompt));
}

/// Goes back to what was searched before.
pub(in crate::ui) fn undo_search(model: &mut Model, before: String, top: usize, follow: bool) {
    change_text(model, |_, text| {
        (text.search, text.found) = (before, None);
        (text.top, text.follow) = (top, follow);
    });
}

pub(in crate::ui) fn find_next_match(model: &mut Model, back: bool) -> Vec<Effect> {
    let word = top_text(model).map(|text| text.search.clone());
    match word.as_deref() {
        None => {}
        Some("") => return open_search(model),
        Some(_) => change_text(model, |model, text| {
            let went_round = show_match(model, text, back);
            let words = match (went_round, back) {
                (None, _) => format!("{} is not there", text.search),
                (Some(true), false) => "the search went on at the first line".into(),
                (Some(true), true) => "the search went on at the last line".into(),
                (Some(false), _) => return,
            };
            model.add_notice(Level::Info, words, vec![]);
        }),
    }
    vec![]
}

/// Shows the next line with the word; returns whether the search went round the end, or `None`
/// when the word is not there.
fn show_match(model: &Model, text: &mut Text, back: bool) -> Option<bool> {
    let rows = TextRows::new(model, text);
    let height = view::text_height(model.size);
    let top = text.first_row(rows.len(), height);
    let from = match text.found.map(|line| line.saturating_sub(text.dropped)) {
        Some(line) if back => line,
        Some(line) => line + 1,
        None => rows.line_at_row(top),
    };
    let from = if rows.line_count() == 0 {
        return None;
    } else {
        from % rows.line_count()
    };
    let (line, round) = rows.find_line(&text.search, from, back)?;
    let round =
        round || (!back && from == 0 && text.found.is_some_and(|f| f > text.dropped + line));
    let (row, column) = rows.find_in_line(line, &text.search);
    let last = rows.len().saturating_sub(height);
    // What is in view stays where it is; else the match comes to the upper third.
    if row < top || row >= top + height {
        text.top = row.saturating_sub(height / 3).min(last);
    } else {
        text.top = top;
    }
    text.follow = false;
    if !text.wrap {
        let width = usize::from(model.size.0).saturating_sub(8);
        let in_view = text.left <= column && column + 8 < text.left + width;
        if !in_view {
            text.left = column.saturating_sub(width / 2);
        }
    }
    text.found = Some(line + text.dropped);
    Some(round)
}

/// Turns wrapping on or off; the first visible line stays.
pub(in crate::ui) fn toggle_wrap(model: &mut Model) -> Vec<Effect> {
    change_text(model, |model, text| {
        let rows = TextRows::new(model, text);
        let line = rows.line_at_row(text.first_row(rows.len(), view::text_height(model.size)));
        text.wrap = !text.wrap;
        text.left = 0;
        text.top = TextRows::new(model, text).row_of_line(line);
        model.unwrapped = !text.wrap;
    });
    vec![]
}

pub(in crate::ui) fn scroll_columns(model: &mut Model, right: bool) -> Vec<Effect> {
    change_text(model, |model, text| {
        if text.wrap {
            return;
        }
        let width = usize::from(model.size.0).saturating_sub(8);
        let most = TextRows::new(model, text).widest().saturating_sub(width);
        text.left = if right {
            (text.left + COLUMN_STEP).min(most)
        } else {
            text.left.saturating_sub(COLUMN_STEP)
        };
    });
    vec![]
}

/// Asks for the name of a file; a name with the time is offered.
pub(in crate::ui) fn open_save(model: &mut Model) -> Vec<Effect> {
    let Some(text) = top_text(model) else {
        return vec![];
    };
    let subject = text
        .title
        .split(',')
        .next()
        .unwrap_or_default()
        .replace(" of ", " ");
    let subject: String = subject
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let words: Vec<&str> = subject.split('-').filter(|w| !w.is_empty()).collect();
    let time = model.now.strftime("%Y%m%d-%H%M%S");
    let suffix = if matches!(text.source, Source::Yaml(_)) {
        "yaml"
    } else {
        "txt"
    };
    let name = format!("{}-{time}.{suffix}", words.join("-").to_lowercase());
    let folder = model
        .saved_to
        .as_deref()
        .and_then(|path| path.rsplit_once('/'))
        .map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let prompt = Prompt {
        kind: PromptKind::Save,
        input: Input::new(folder + &name),
    };
    model.overlays.push(Overlay::Prompt(Box::new(prompt)));
    vec![]
}

/// Enter in the line: searches, or saves the text below.
pub(in crate::ui) fn accept_prompt(model: &mut Model, prompt: &Prompt) -> Vec<Effect> {
    match prompt.kind {
        PromptKind::Search { .. } => {
            let missing = top_text(model).filter(|t| !t.search.is_empty() && t.found.is_none());
            if let Some(words) = missing.map(|text| format!("{} is not there", text.search)) {
                model.add_notice(Level::Warn, words, vec![]);
            }
            vec![]
        }
        PromptKind::Save => {
            let path = prompt.input.value().trim().to_owned();
            let Some(text) = top_text(model).filter(|_| !path.is_empty()) else {
                return vec![];
            };
            let text = view::plain_text(model, text);
            model.saved_to = Some(path.clone());
            let ticket = model.next_ticket();
            vec![Effect::Query(ticket, Query::Save { path, text })]
        }
    }
}
