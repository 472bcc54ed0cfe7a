//! Translates terminal events into actions. In a text field letters are text; elsewhere the key
//! bindings apply. Key repeats do not trigger dangerous actions.

use crokey::{KeyCombination, OneToThree};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::act::act;
use crate::ui::{
    effect::Effect,
    form::{self, Value},
    keymap::{Action, Context, Danger, show},
    model::{Level, Model, Overlay},
    widget::harmless,
};

pub(super) fn input(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_pressed(model, key),
        Event::Paste(text) => {
            paste(model, &text);
            vec![]
        }
        Event::Resize(columns, rows) => {
            model.size = (columns, rows);
            vec![]
        }
        // Other programs may have written to the screen meanwhile.
        Event::FocusGained => vec![Effect::Repaint],
        Event::Key(_) | Event::FocusLost | Event::Mouse(_) => vec![],
    }
}

fn key_pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    model.noticed = true;
    let letter = matches!(key.code, KeyCode::Char(_))
        && !key
            .modifiers
            .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if takes_letters(model) && (letter || edits(&key)) {
        if let Some(request) = request(&key) {
            edit(model, request);
        }
        return vec![];
    }
    if letter
        && model
            .letters_mean_nothing
            .is_some_and(|until| model.now < until)
    {
        let words = "thrown away: keys for a question that has closed";
        if model
            .notices
            .front()
            .is_none_or(|n| n.text != words || model.now.duration_since(n.time).as_secs() > 5)
        {
            model.notice(Level::Info, words, vec![]);
        }
        model.ignore_letters();
        return vec![];
    }
    model.letters_mean_nothing = None;
    let contexts = model.contexts();
    let combination = KeyCombination::from(key);
    let Some(action) = model.options.keymap.action(&contexts, combination) else {
        if takes_letters(model)
            && let Some(request) = request(&key)
        {
            edit(model, request);
        } else if ctrl_c(combination) {
            return model.close();
        } else if let Some(words) =
            elsewhere(model, combination).filter(|_| model.overlays.is_empty())
        {
            model.notice(Level::Info, words, vec![]);
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
        let back = model.options.keymap.anywhere(Action::ReadOnly);
        let back = if model.options.read_only {
            "".into()
        } else {
            format!("; {back} gives it back")
        };
        model.notice(
            Level::Warn,
            format!("read-only: {} is taken away{back}", action.word()),
            vec![],
        );
        return vec![];
    }
    act(model, action)
}

/// Says in which other panes an unbound key has an action.
fn elsewhere(model: &Model, key: KeyCombination) -> Option<String> {
    let places = Context::ALL
        .into_iter()
        .filter(|c| !c.is_over())
        .filter_map(|context| {
            let action = model.options.keymap.action(&[context], key)?;
            Some(format!("{} in {}", action.word(), context.title()))
        });
    let places: Vec<String> = places.collect();
    (!places.is_empty()).then(|| format!("{} does nothing here: {}", show(key), places.join(", ")))
}

fn ctrl_c(key: KeyCombination) -> bool {
    key.modifiers == KeyModifiers::CONTROL && key.codes == OneToThree::One(KeyCode::Char('c'))
}

/// Whether a text field has the focus.
fn takes_letters(model: &Model) -> bool {
    match model.overlays.last() {
        Some(Overlay::Form(form)) => form
            .fields
            .get(form.at)
            .is_some_and(|f| matches!(f.value, Value::Text(_))),
        Some(Overlay::Confirm(question)) => {
            use crate::ui::question::Focus;
            matches!(question.focus, Focus::Typed | Focus::Comment)
        }
        Some(Overlay::Palette(_) | Overlay::Filter(..)) => true,
        Some(Overlay::Text(_)) | None => false,
    }
}

/// Keys that always edit the focused field, whatever else they are bound to.
fn edits(key: &KeyEvent) -> bool {
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

fn request(key: &KeyEvent) -> Option<InputRequest> {
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
        KeyCode::Char(c) if !ctrl && !alt && harmless(&c.to_string()).contains(c) => {
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
const PASTE: usize = 4096;

/// Pasted text goes into the focused field, on one line. Without a text field it is dropped, so it
/// cannot trigger key bindings.
fn paste(model: &mut Model, text: &str) {
    if !takes_letters(model) {
        model.notice(
            Level::Info,
            "pasted text is taken only where something is typed",
            vec![],
        );
        return;
    }
    let line = text.trim_end().replace(['\n', '\r', '\t'], " ");
    for c in harmless(&line).chars().take(PASTE) {
        edit_quietly(model, InputRequest::InsertChar(c));
    }
    edited(model);
}

fn edit(model: &mut Model, request: InputRequest) {
    edit_quietly(model, request);
    edited(model);
}

fn edit_quietly(model: &mut Model, request: InputRequest) {
    match model.overlays.last_mut() {
        Some(Overlay::Form(form)) => form.edit(request),
        Some(Overlay::Confirm(question)) => apply(question.input(), request),
        Some(Overlay::Palette(palette)) => apply(Some(&mut palette.input), request),
        Some(Overlay::Filter(input, _)) => apply(Some(input), request),
        Some(Overlay::Text(_)) | None => {}
    }
}

fn apply(input: Option<&mut Input>, request: InputRequest) {
    if let Some(input) = input {
        input.handle(request);
    }
}

/// Updates everything that depends on the edited field.
pub(super) fn edited(model: &mut Model) {
    match model.overlays.pop() {
        Some(Overlay::Form(mut open)) => {
            form::check(model, &mut open);
            model.overlays.push(Overlay::Form(open));
        }
        Some(Overlay::Palette(mut palette)) => {
            palette.find();
            model.overlays.push(Overlay::Palette(palette));
        }
        Some(Overlay::Filter(input, before)) => {
            set_filter(model, input.value());
            model.overlays.push(Overlay::Filter(input, before));
        }
        Some(other) => model.overlays.push(other),
        None => {}
    }
}

/// Sets the filter of the topmost text, else of the focused pane.
pub(super) fn set_filter(model: &mut Model, filter: &str) {
    match model.overlays.last_mut() {
        Some(Overlay::Text(text)) => {
            text.filter = filter.into();
            text.top = 0;
        }
        _ => {
            model.filters.insert(model.pane, filter.into());
        }
    }
}
