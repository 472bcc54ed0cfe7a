//! Editing graylane's own objects as text: the text is read, an editor changes it, the server checks
//! it, and a question shows what would change.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::ObjectRef,
    domain::edit::{CheckedEdit, EditDraft, EditableKind, editable_text},
    ui::{
        effect::{Effect, Foreground, Query, Returned, Ticket},
        model::{Level, Model, Overlay, Pending, PendingEdit, Source},
        question,
    },
};

/// The object that the key edits, and its kind: that of the shown YAML, else the selected one.
pub(in crate::ui) fn editable_object(model: &Model) -> Option<(EditableKind, ObjectRef)> {
    let object = match model.overlays.last() {
        Some(Overlay::Text(text)) => match &text.source {
            Source::Yaml(object) | Source::Described(object) => object.clone(),
            _ => return None,
        },
        _ => model.pane.behaviour().edited_object(model)?,
    };
    EditableKind::from_resource(&object.resource_word()).map(|kind| (kind, object))
}

fn wait_for(model: &mut Model, words: &str, edit: PendingEdit) -> Ticket {
    let ticket = model.next_ticket();
    let pending = Pending::new(words, &edit.object.key, model.now);
    model.pending.insert(ticket, pending);
    model.edits.insert(ticket, edit);
    ticket
}

pub(in crate::ui) fn begin_edit(model: &mut Model) -> Vec<Effect> {
    let Some((kind, object)) = editable_object(model) else {
        let words = "only apps, templates, variable groups, lane groups and lanes are edited";
        model.add_notice(Level::Warn, words, vec![]);
        return vec![];
    };
    let edit = PendingEdit {
        kind,
        object: object.clone(),
        before: Arc::new(Value::Null),
    };
    let ticket = wait_for(model, "reading", edit);
    vec![Effect::Query(ticket, Query::Editable(object))]
}

/// The object was read: an editor gets its text.
pub(in crate::ui) fn open_editor(
    model: &mut Model,
    ticket: Ticket,
    before: Arc<Value>,
) -> Vec<Effect> {
    let Some(edit) = model.edits.get_mut(&ticket) else {
        return vec![];
    };
    edit.before = Arc::clone(&before);
    model.pending.remove(&ticket);
    let name = format!("{}-{}.yaml", edit.kind.plural(), edit.object.key.name);
    let text = editable_text(&before);
    vec![Effect::Foreground(ticket, Foreground::Edit { name, text })]
}

/// The editor was left: what was changed is checked by the server.
pub(in crate::ui) fn check_draft(
    model: &mut Model,
    ticket: Ticket,
    returned: Returned,
) -> Vec<Effect> {
    let Some(edit) = model.edits.remove(&ticket) else {
        return vec![];
    };
    let Some((path, text)) = returned.file else {
        return vec![];
    };
    if text == editable_text(&edit.before) || text.trim().is_empty() {
        model.add_notice(Level::Info, "nothing was changed", vec![]);
        let ticket = model.next_ticket();
        return vec![Effect::Query(ticket, Query::Discard(path))];
    }
    let draft = EditDraft {
        kind: edit.kind,
        namespace: edit.object.key.namespace.name.to_string(),
        name: edit.object.key.name.clone(),
        before: Arc::clone(&edit.before),
        text,
        path,
    };
    let ticket = wait_for(model, "checking", edit);
    vec![Effect::Query(ticket, Query::CheckEdit(draft))]
}

/// The server would take it: a person decides.
pub(in crate::ui) fn ask_to_save(
    model: &mut Model,
    ticket: Ticket,
    checked: CheckedEdit,
) -> Vec<Effect> {
    model.pending.remove(&ticket);
    let Some(edit) = model.edits.remove(&ticket) else {
        return vec![];
    };
    let path = checked.path.clone();
    let kept = format!("the text is kept in {path}");
    // Another namespace may have been entered while the text was checked.
    let namespace = &*edit.object.key.namespace.name;
    if !model.visit_namespace(namespace) {
        let why = format!("namespace {namespace} is not shown any more: nothing was saved");
        model.add_notice(Level::Warn, why, vec![kept]);
        return vec![];
    }
    match question::ask_to_save_edit(model, edit.kind, &edit.object.key, checked) {
        Ok(question) => {
            let question = Box::new(question.in_namespace_of(model));
            model.overlays.push(Overlay::Confirm(question));
        }
        Err(why) => {
            model.add_notice(Level::Warn, why.to_string(), vec![kept]);
        }
    }
    vec![]
}
