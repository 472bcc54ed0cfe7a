//! Editing an object as text, from the key to the write, and what becomes of the text.

use std::sync::Arc;

use graylane::{
    domain::{edit::CheckedEdit, intent::Intent},
    ui::{
        Answer, Effect, Fault, IntentOutcome, Model, Msg, Query, Ticket,
        effect::{Foreground, Returned},
        model::Overlay,
        update,
    },
};
use serde_json::{Value, json};

use crate::{scenes::after, screen::press};

const PATH: &str = "/tmp/graylane-1-0-lanes-gray.yaml";

fn lane(priority: u64) -> Arc<Value> {
    Arc::new(json!({"kind": "Lane", "metadata": {"name": "gray"}, "spec": {"priority": priority}}))
}

/// The ticket of the only effect, which must be this kind of query.
fn query(effects: &[Effect], is: impl Fn(&Query) -> bool) -> Ticket {
    match effects {
        [Effect::Query(ticket, query)] if is(query) => *ticket,
        other => panic!("{other:?}"),
    }
}

/// The key was pressed and the editor left with this change.
fn left_editor(model: &mut Model, change: (&str, &str)) -> Vec<Effect> {
    let read = query(&press(model, "<ctrl-e>"), |q| {
        matches!(q, Query::Editable(_))
    });
    assert!(!model.pending.is_empty(), "that it is read is shown");
    let effects = update(model, Msg::Answer(read, Answer::Editable(lane(10))));
    let [Effect::Foreground(ticket, Foreground::Edit { name, text })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(name, "lanes-gray.yaml");
    let file = Some((PATH.to_owned(), text.replace(change.0, change.1)));
    update(
        model,
        Msg::Returned(*ticket, Ok(Returned { file, words: None })),
    )
}

fn asked(model: &mut Model) {
    let effects = left_editor(model, ("priority: 10", "priority: 5"));
    let check = query(
        &effects,
        |q| matches!(q, Query::CheckEdit(d) if d.path == PATH),
    );
    let checked = CheckedEdit {
        before: lane(10),
        after: lane(5),
        alarms: vec![],
        path: PATH.into(),
    };
    update(model, Msg::Answer(check, Answer::EditChecked(checked)));
    assert!(model.pending.is_empty());
    assert!(matches!(model.overlays.last(), Some(Overlay::Confirm(_))));
}

fn newest(model: &Model) -> String {
    let notice = model.notices.front().expect("a notice");
    [std::slice::from_ref(&notice.text), notice.detail.as_slice()]
        .concat()
        .join("\n")
}

#[test]
fn no_is_the_default_and_keeps_the_text() {
    let mut model = after("4");
    asked(&mut model);
    assert_eq!(press(&mut model, "<enter>"), []);
    assert!(model.overlays.is_empty());
    assert!(newest(&model).contains(PATH), "{}", newest(&model));
}

#[test]
fn yes_writes_what_was_shown_and_removes_the_text() {
    let mut model = after("4");
    asked(&mut model);
    let effects = press(&mut model, "<tab><enter>");
    let [Effect::Perform(ticket, _, Intent::EditObject { before, after, .. })] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!((before, after), (&lane(10), &lane(5)));
    let done = update(
        &mut model,
        Msg::Settled(*ticket, Ok(IntentOutcome::default())),
    );
    query(&done, |q| matches!(q, Query::Discard(path) if path == PATH));
}

#[test]
fn a_write_that_fails_tells_where_the_text_is() {
    let mut model = after("4");
    asked(&mut model);
    let effects = press(&mut model, "<tab><enter>");
    let [Effect::Perform(ticket, ..)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let done = update(
        &mut model,
        Msg::Settled(*ticket, Err(Fault::new("somebody wrote it"))),
    );
    assert_eq!(done, []);
    assert!(newest(&model).contains(PATH), "{}", newest(&model));
}

#[test]
fn what_was_left_as_it_is_asks_nothing() {
    let mut model = after("4");
    let effects = left_editor(&mut model, ("", ""));
    query(
        &effects,
        |q| matches!(q, Query::Discard(path) if path == PATH),
    );
    assert!(model.overlays.is_empty() && model.pending.is_empty());
}

#[test]
fn nothing_is_edited_read_only_nor_what_others_own() {
    let mut model = after("4R");
    assert_eq!(press(&mut model, "<ctrl-e>"), []);
    assert!(
        newest(&model).starts_with("read-only"),
        "{}",
        newest(&model)
    );
    let mut model = after("3");
    assert_eq!(press(&mut model, "<ctrl-e>"), []);
    assert!(newest(&model).contains("are edited"), "{}", newest(&model));
}
