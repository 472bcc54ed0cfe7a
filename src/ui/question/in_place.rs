//! What a StatefulSet rollout means for the person who confirms: no surge pods, pods below the
//! user's own partition stay as they are, and a rollback is as slow as the rollout.

use crate::{
    domain::{
        text::format_count,
        world::{Workload, WorkloadKind},
    },
    ui::{
        facts::{ReplacementStrategy, replacement_strategy},
        model::Model,
    },
};

fn stateful_sets<'a>(model: &'a Model, app: &'a str, environment: &'a str) -> Vec<&'a Workload> {
    model
        .world
        .workloads_of(app, environment)
        .filter(|w| w.kind == WorkloadKind::StatefulSet)
        .collect()
}

/// `StatefulSet db`, `StatefulSets db and queue`.
fn name_stateful_sets(sets: &[&Workload]) -> String {
    let names: Vec<&str> = sets.iter().map(|w| w.key.name.as_str()).collect();
    match names.as_slice() {
        [one] => format!("StatefulSet {one}"),
        many => format!("StatefulSets {}", join_with_and(many)),
    }
}

fn join_with_and(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        all => all.join(", "),
    }
}

/// The cost of the rollout, for the question before it starts.
pub(super) fn describe_cost(model: &Model, app: &str, environment: &str) -> Option<String> {
    let sets = stateful_sets(model, app, environment);
    let (has, its, fewer) = match sets.len() {
        0 => return None,
        1 => ("has", "its", "one fewer serves"),
        _ => ("have", "their", "one fewer of its set serves"),
    };
    let named = name_stateful_sets(&sets);
    Some(format!(
        "{environment}: {named} {has} no pods above {its} replicas: while one is replaced, {fewer}"
    ))
}

/// How the new pods take over.
pub(super) fn describe_replacement(workloads: &[&Workload]) -> &'static str {
    match replacement_strategy(workloads) {
        ReplacementStrategy::Surge => "first they come up, then as many old ones go",
        ReplacementStrategy::InPlace => "one after the other",
        ReplacementStrategy::Mixed => {
            "of Deployments first they come up, then as many old ones go; of StatefulSets one after the other"
        }
    }
}

/// What remains after the last batch.
pub(super) fn describe_last_batch(workloads: &[&Workload]) -> String {
    let stay: Vec<String> = workloads
        .iter()
        .filter(|w| w.left_alone > 0)
        .map(|w| {
            let pods = format_count(w.left_alone, "pod");
            format!("{pods} of StatefulSet {}", w.key.name)
        })
        .collect();
    let stay: Vec<&str> = stay.iter().map(String::as_str).collect();
    let last = "then the old version is gone";
    match stay.as_slice() {
        [] => last.into(),
        [one] => format!("{last}, but for {one} below its own partition"),
        many => format!(
            "{last}, but for {} below their own partitions",
            join_with_and(many)
        ),
    }
}

/// How a rollback proceeds.
pub(super) fn describe_rollback(model: &Model, app: &str, environment: &str) -> Option<String> {
    let sets = Some(stateful_sets(model, app, environment)).filter(|sets| !sets.is_empty())?;
    Some(format!(
        "{environment}: pods of {} go back one after the other, with one fewer serving meanwhile; a new one that is not \
         ready is deleted",
        name_stateful_sets(&sets)
    ))
}
