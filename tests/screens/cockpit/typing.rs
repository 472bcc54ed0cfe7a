//! Whoever types, types: no letter is a yes, and none that was meant for a question presses a key of the cockpit.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use graylane::ui::{Effect, Model, Msg, fixture, model::Overlay, pane::Pane, update};
use jiff::SignedDuration;

use super::properties::each_dangerous_key;
use crate::{screen::draw, worlds};

const PROSE: &str = "sorry wrong build, yes quite wrong";

/// A key, a moment after the one before.
fn key(model: &mut Model, code: KeyCode, modifiers: KeyModifiers, after: i64) -> Vec<Effect> {
    model.now = model
        .now
        .checked_add(SignedDuration::from_millis(after))
        .expect("a time");
    update(
        model,
        Msg::Input(Event::Key(KeyEvent::new(code, modifiers))),
    )
}

/// As somebody types who does not look at the screen.
fn write(model: &mut Model, text: &str) -> Vec<Effect> {
    let letter = |c: char| {
        if c.is_uppercase() {
            KeyModifiers::SHIFT
        } else {
            KeyModifiers::NONE
        }
    };
    text.chars()
        .flat_map(|c| key(model, KeyCode::Char(c), letter(c), 120))
        .collect()
}

fn comment(model: &Model) -> Option<String> {
    match model.overlays.last() {
        Some(Overlay::Confirm(question)) => question.comment.as_ref().map(|c| c.value().to_owned()),
        _ => None,
    }
}

/// Seen once: the y of "sorry" rolled production back, and the letters after it hit the cockpit.
#[test]
fn a_comment_typed_at_once_is_a_comment() {
    let mut model = fixture::model();
    assert!(write(&mut model, &format!("3A{PROSE}")).is_empty());
    assert_eq!(comment(&model).as_deref(), Some(PROSE));
    let (buffer, cursor) = draw(&mut model, 120, 36);
    let row = cursor.map(|(_, y)| {
        (0..120)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    });
    assert!(
        row.is_some_and(|row| row.contains(PROSE)),
        "it is seen as it is typed"
    );
    let sent = key(&mut model, KeyCode::Char('y'), KeyModifiers::CONTROL, 120);
    let [Effect::Perform(_, _, graylane::domain::intent::Intent::Release { comment, .. })] =
        sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!(comment.as_deref(), Some(PROSE));
}

/// In any world after any dangerous key, whether it asks or refuses: prose does nothing.
#[test]
fn prose_after_any_dangerous_key_does_nothing() {
    let mut written = 0;
    each_dangerous_key(|mut model, binding| {
        update(&mut model, Msg::Input(Event::Key(binding.keys[0].into())));
        let asks = model.overlays.len();
        assert_eq!(write(&mut model, PROSE), [], "{:?}", binding.action);
        assert_eq!(
            model.overlays.len(),
            asks,
            "{:?} opened something by prose",
            binding.action
        );
        let typed = matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.typed.is_some());
        if let (Some(comment), false) = (comment(&model), typed) {
            assert_eq!(comment, PROSE, "{:?}", binding.action);
            written += 1;
        }
    });
    assert!(written > 50, "{written}");
}

/// What is typed on after a question has closed is thrown away, and told, until somebody stops typing.
#[test]
fn letters_for_a_question_that_has_closed_are_thrown_away() {
    for (how, code) in [
        ("no", KeyCode::Enter),
        ("escape", KeyCode::Esc),
        ("yes", KeyCode::Char('y')),
    ] {
        let mut model = fixture::model_of(worlds::held());
        write(&mut model, "3Aso");
        if code == KeyCode::Enter {
            // To the button that says no, and press it.
            key(&mut model, code, KeyModifiers::NONE, 120);
        }
        let modifiers = if how == "yes" {
            KeyModifiers::CONTROL
        } else {
            KeyModifiers::NONE
        };
        key(&mut model, code, modifiers, 120);
        assert!(model.overlays.is_empty(), "{how}");
        assert_eq!(write(&mut model, "rry quits u1"), [], "{how}");
        assert!(
            model.overlays.is_empty() && model.pane == Pane::Rollout,
            "{how}"
        );
        let told = model
            .notices
            .iter()
            .filter(|n| n.text.contains("ignored: keys"))
            .count();
        assert_eq!(told, 1, "{how}");
        // A key that is no letter, or a moment's rest, and keys are keys again.
        let mut rested = model.clone();
        key(&mut rested, KeyCode::Char('1'), KeyModifiers::NONE, 900);
        assert_eq!(rested.pane, Pane::Apps, "{how}");
        key(&mut model, KeyCode::Down, KeyModifiers::NONE, 120);
        key(&mut model, KeyCode::Char('1'), KeyModifiers::NONE, 120);
        assert_eq!(model.pane, Pane::Apps, "{how}");
    }
}
