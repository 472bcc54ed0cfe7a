//! One question about the releases of all marked Apps. Each release is asked about as if alone; what
//! the single questions say is told together, and each intent is sent on its own.

use super::{AskError, PlannedIntent, Question, ask::build_single_question};
use crate::{
    domain::text::format_count,
    ui::{form::Remark, keymap::Action, model::Model},
};

/// Whether an action is asked about every marked App at once.
pub fn is_about_marked(model: &Model, action: Action) -> bool {
    action.steers_release() && model.pane.behaviour().acts_on_marked() && !model.marked.is_empty()
}

/// The question about all marked Apps; the error says why none of them can be acted on.
pub(super) fn ask_about_marked(model: &Model, action: Action) -> Result<Question, AskError> {
    let (mut asked, mut refused) = (vec![], vec![]);
    let mut single = model.clone();
    (single.release, single.task) = (None, None);
    for key in &model.marked {
        // Each in its own namespace.
        let there = single.enter_namespace(&key.namespace.name);
        single.app = Some(key.name.clone()).filter(|_| there);
        let app = model.qualified_name(&key.namespace.name, &key.name);
        match build_single_question(&single, action) {
            Ok(question) => asked.push(question),
            Err(why) => refused.push((app, why.to_string())),
        }
    }
    let all = model.marked.len();
    let mut parts = asked.into_iter();
    let first = parts
        .next()
        .and_then(|part| Some((part.intent.clone()?, part)));
    let Some((intent, first)) = first else {
        let why = refused.into_iter().map(|(_, why)| why).next();
        return Err(AskError::NoneOfMarked {
            word: action.word(),
            all,
            why: why.unwrap_or_default(),
        });
    };
    let mut question = begin_question(action, all, &refused, intent);
    (question.about, question.sent) = (first.about.clone(), first.sent.clone());
    question.namespace.clone_from(&first.namespace);
    add_part(model, &mut question, first);
    for part in parts {
        question
            .further
            .extend(part.intent.clone().map(|intent| PlannedIntent {
                namespace: part.namespace.clone(),
                intent,
                about: part.about.clone(),
                sent: part.sent.clone(),
            }));
        add_part(model, &mut question, part);
    }
    for (app, why) in refused {
        // Most reasons name the release.
        let told = if why.contains(&app) {
            why
        } else {
            format!("{app}: {why}")
        };
        question.add_fact("left out", told);
    }
    question.ask_for_comment();
    Ok(question)
}

fn begin_question(
    action: Action,
    all: usize,
    refused: &[(String, String)],
    intent: crate::domain::intent::Intent,
) -> Question {
    let count = all - refused.len();
    let verb = match action {
        Action::Approve => "Approve",
        Action::Refuse => "Refuse",
        Action::Continue => "Proceed with",
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::Retry => "Retry",
        Action::Skip => "Skip a task of",
        _ => "Roll back",
    };
    let title = format!("{verb} {}?", format_count(count, "release"));
    let mut question = Question::new(title, &format!("{verb} {count}"), intent, "", "");
    if !refused.is_empty() {
        let rest = refused.len();
        let (apps, are) = (
            format_count(rest, "app"),
            if rest == 1 { "is" } else { "are" },
        );
        question.doubts.push(format!(
            "this is about {count} of {all} marked apps; {apps} {are} left out, see below"
        ));
    }
    question
}

/// Adds what one release's question says, under the name of the release.
fn add_part(model: &Model, question: &mut Question, part: Question) {
    let name = model.qualified_name(&part.namespace, &part.about);
    let named = |words: String| {
        if words.contains(&name) {
            words
        } else {
            format!("{name}: {words}")
        }
    };
    question.happens.extend(part.happens.into_iter().map(named));
    question.alarms.extend(part.alarms.into_iter().map(named));
    question.doubts.extend(part.doubts.into_iter().map(named));
    question.add_fact("release", part.title.trim_end_matches('?'));
    for (label, words) in part
        .facts
        .into_iter()
        .filter(|(label, _)| label != "release")
    {
        question.add_fact("", format!("{label}: {words}"));
    }
    if !part.diff.is_empty() {
        question.diff.push(Remark::Fact(format!("release {name}")));
        question.diff.extend(part.diff);
    }
    question.kubectl.extend(part.kubectl);
    question.objects.extend(part.objects);
    if let Some((production, _)) = part.typed {
        let known = question.typed.as_ref().map(|(name, _)| name.clone());
        let wanted = known.map_or_else(|| production.clone(), |known| add_name(known, &production));
        question.require_typed_name(&wanted);
    }
}

/// Several productions are typed one after the other.
fn add_name(known: String, name: &str) -> String {
    if known.split(' ').any(|word| word == name) {
        known
    } else {
        format!("{known} {name}")
    }
}
