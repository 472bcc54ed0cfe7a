//! The question before an edited object is written.

use kube_yaml::to_yaml;

use super::{AskError, ObservedObject, Question, lane::diff_lines};
use crate::{
    domain::{
        command_line::CommandLine,
        edit::{CheckedEdit, EditableKind},
        intent::Intent,
        world::ObjectKey,
    },
    ui::model::Model,
};

/// Shows what an edit changes, as the server would write it.
pub fn ask_to_save_edit(
    model: &Model,
    kind: EditableKind,
    key: &ObjectKey,
    checked: CheckedEdit,
) -> Result<Question, AskError> {
    let (word, name) = (kind.word(), &key.name);
    let shown = ObservedObject::from_world(&model.world, kind.plural(), name, None)
        .ok_or_else(|| AskError::Gone(word, name.clone()))?;
    let diff = diff_lines(&to_yaml(&checked.before), &to_yaml(&checked.after));
    if diff.is_empty() {
        return Err(AskError::EditUnchanged(word, name.clone()));
    }
    let intent = Intent::EditObject {
        kind,
        name: name.clone(),
        before: checked.before,
        after: checked.after,
    };
    let title = format!("Save {word} {name}?");
    let mut question = Question::new(title, "Save", intent, name, "edit sent");
    question.add_fact("text", checked.path.clone());
    question.diff = diff;
    question.alarms = checked.alarms;
    question.happens = vec![
        "the server has checked it; it is refused if somebody writes it first".into(),
        kind.effect().into(),
    ];
    question.kubectl.push(
        CommandLine::kubectl("")
            .option("-n", &*key.namespace.name)
            .fixed_args("replace")
            .option("-f", &checked.path),
    );
    question.draft = Some(checked.path);
    question.objects.push(shown);
    Ok(question)
}
