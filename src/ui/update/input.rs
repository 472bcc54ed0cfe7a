//! Translates terminal events into actions. In a text field letters are text; elsewhere the key
//! bindings apply. Key repeats do not trigger dangerous actions.

use crokey::{KeyCombination, OneToThree};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::{act::perform_action, own_command};
use crate::ui::{
    effect::Effect,
    form::{self, FieldValue},
    keymap::{Action, Danger, KeyContext, format_key},
    model::{Level, Model, Overlay},
    widget::sanitize_text,
};

pub(in crate::ui) fn handle_event(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_pressed(model, key),
        Event::Paste(text) => {
            paste_text(model, &text);
            vec![]
        }
        Event::Resize(columns, rows) => {
            model.size = (columns, rows);
            vec![]
        }
        // Other programs may have written to the screen meanwhile.
        Event::FocusGained => vec![Effect::Repaint],
        Event::Mouse(event) => super::mouse::handle_mouse(model, event),
        Event::Key(_) | Event::FocusLost => vec![],
    }
}

fn key_pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    model.noticed = true;
    let letter = matches!(key.code, KeyCode::Char(_))
        && !key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if takes_letters(model) && (letter || is_edit_key(&key)) {
        if let Some(request) = to_input_request(&key) {
            edit_field(model, request);
        }
        return vec![];
    }
    if letter
        && model
            .letters_ignored_until
            .is_some_and(|until| model.now < until)
    {
        let words = "ignored: keys for a question that has closed";
        if model
            .notices
            .front()
            .is_none_or(|n| n.text != words || model.now.duration_since(n.time).as_secs() > 5)
        {
            model.add_notice(Level::Info, words, vec![]);
        }
        model.ignore_letters();
        return vec![];
    }
    model.letters_ignored_until = None;
    let contexts = model.active_contexts();
    let combination = KeyCombination::from(key);
    let Some(action) = model.options.keymap.find_action(&contexts, combination) else {
        let own = &model.options.own_commands;
        if let Some(own) = own.find_command(&contexts, combination).cloned() {
            // A held key runs a command once.
            return match key.kind {
                KeyEventKind::Repeat => vec![],
                _ => own_command::begin_command(model, &own),
            };
        }
        if takes_letters(model)
            && let Some(request) = to_input_request(&key)
        {
            edit_field(model, request);
        } else if is_ctrl_c(combination) {
            return model.close_overlay();
        } else if let Some(words) =
            describe_other_contexts(model, combination).filter(|_| model.overlays.is_empty())
        {
            model.add_notice(Level::Info, words, vec![]);
        }
        return vec![];
    };
    let held = key.kind == KeyEventKind::Repeat;
    let weighty = action.danger() != Danger::Safe
        || matches!(
            action,
            Action::Yes | Action::Press | Action::Submit | Action::Accept | Action::Quit
        );
    if held && weighty {
        return vec![];
    }
    if model.read_only && action.danger() != Danger::Safe {
        let back = model.options.keymap.key_anywhere(Action::ReadOnly);
        let back = if model.options.read_only {
            String::new()
        } else {
            format!("; {back} turns it on again")
        };
        model.add_notice(
            Level::Warn,
            format!("read-only: {} is off{back}", action.word()),
            vec![],
        );
        return vec![];
    }
    perform_action(model, action)
}

/// Says in which other panes an unbound key has an action.
fn describe_other_contexts(model: &Model, key: KeyCombination) -> Option<String> {
    let places = KeyContext::ALL
        .into_iter()
        .filter(|c| !c.is_over())
        .filter_map(|context| {
            let action = model.options.keymap.find_action(&[context], key)?;
            Some(format!("{} in {}", action.word(), context.title()))
        });
    let places: Vec<String> = places.collect();
    (!places.is_empty()).then(|| {
        format!(
            "{} does nothing here: {}",
            format_key(key),
            places.join(", ")
        )
    })
}

fn is_ctrl_c(key: KeyCombination) -> bool {
    key.modifiers == KeyModifiers::CONTROL && key.codes == OneToThree::One(KeyCode::Char('c'))
}

/// Whether a text field has the focus.
fn takes_letters(model: &Model) -> bool {
    match model.overlays.last() {
        Some(Overlay::Form(form)) => form
            .fields
            .get(form.at)
            .is_some_and(|f| matches!(f.value, FieldValue::Text(_))),
        Some(Overlay::Confirm(question)) => {
            use crate::ui::question::Focus;
            matches!(question.focus, Focus::Typed | Focus::Comment)
        }
        Some(Overlay::Palette(_) | Overlay::Filter(..) | Overlay::Prompt(_)) => true,
        Some(Overlay::Text(_)) | None => false,
    }
}

/// Keys that always edit the focused field, whatever else they are bound to.
fn is_edit_key(key: &KeyEvent) -> bool {
    matches!(
        key.code,
        KeyCode::Backspace
            | KeyCode::Delete
            | KeyCode::Left
            | KeyCode::Right
            | KeyCode::Home
            | KeyCode::End
    )
}

fn to_input_request(key: &KeyEvent) -> Option<InputRequest> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(match key.code {
        KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
        KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
        KeyCode::Char('u') if ctrl => InputRequest::DeleteLine,
        KeyCode::Char('k') if ctrl => InputRequest::DeleteTillEnd,
        KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
        KeyCode::Char('b') if alt => InputRequest::GoToPrevWord,
        KeyCode::Char('f') if alt => InputRequest::GoToNextWord,
        KeyCode::Char(c) if !ctrl && !alt && sanitize_text(&c.to_string()).contains(c) => {
            InputRequest::InsertChar(c)
        }
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left if ctrl => InputRequest::GoToPrevWord,
        KeyCode::Right if ctrl => InputRequest::GoToNextWord,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}

/// Maximum number of pasted characters.
const MAX_PASTE: usize = 4096;

/// Pasted text goes into the focused field, on one line. Without a text field it is dropped, so it
/// cannot trigger key bindings.
fn paste_text(model: &mut Model, text: &str) {
    if !takes_letters(model) {
        model.add_notice(
            Level::Info,
            "text can be pasted only where something is typed",
            vec![],
        );
        return;
    }
    let line = text.trim_end().replace(['\n', '\r', '\t'], " ");
    for c in sanitize_text(&line).chars().take(MAX_PASTE) {
        edit_quietly(model, InputRequest::InsertChar(c));
    }
    refresh_after_edit(model);
}

fn edit_field(model: &mut Model, request: InputRequest) {
    edit_quietly(model, request);
    refresh_after_edit(model);
}

fn edit_quietly(model: &mut Model, request: InputRequest) {
    match model.overlays.last_mut() {
        Some(Overlay::Form(form)) => form.edit_field(request),
        Some(Overlay::Confirm(question)) => apply_edit(question.focused_input(), request),
        Some(Overlay::Palette(palette)) => apply_edit(Some(&mut palette.input), request),
        Some(Overlay::Filter(input, _)) => apply_edit(Some(input), request),
        Some(Overlay::Prompt(prompt)) => apply_edit(Some(&mut prompt.input), request),
        Some(Overlay::Text(_)) | None => {}
    }
}

fn apply_edit(input: Option<&mut Input>, request: InputRequest) {
    if let Some(input) = input {
        input.handle(request);
    }
}

/// Updates everything that depends on the edited field.
pub(in crate::ui) fn refresh_after_edit(model: &mut Model) {
    match model.overlays.pop() {
        Some(Overlay::Form(mut open)) => {
            form::check_form(model, &mut open);
            model.overlays.push(Overlay::Form(open));
        }
        Some(Overlay::Palette(mut palette)) => {
            palette.update_matches();
            model.overlays.push(Overlay::Palette(palette));
        }
        Some(Overlay::Filter(input, before)) => {
            set_filter(model, input.value());
            model.overlays.push(Overlay::Filter(input, before));
        }
        Some(prompt @ Overlay::Prompt(_)) => {
            model.overlays.push(prompt);
            super::reading::search_typed_word(model);
        }
        Some(other) => model.overlays.push(other),
        None => {}
    }
}

/// Sets the filter of the topmost text, else of the focused pane.
pub(in crate::ui) fn set_filter(model: &mut Model, filter: &str) {
    match model.overlays.last_mut() {
        Some(Overlay::Text(text)) => {
            text.filter = filter.into();
            (text.top, text.found) = (0, None);
        }
        _ => {
            model.filters.insert(model.pane, filter.into());
        }
    }
}
