//! Opens what belongs to the selection: details on Enter, logs, events, YAML, help, clipboard.

use std::sync::Arc;

use kube::ResourceExt;

use super::traces;
use crate::{
    domain::{apps, text::format_count, world::ObjectKey},
    ui::{
        effect::{DescribeTarget, Effect, ObjectRef, Query},
        keymap::{Action, KeyContext},
        model::{Level, Model, Overlay, Pane, Source, Text},
        view,
    },
};

pub(in crate::ui) fn push_text(model: &mut Model, mut text: Text) -> Vec<Effect> {
    text.wrap = !model.unwrapped;
    model.overlays.push(Overlay::Text(Box::new(text)));
    vec![]
}

pub(in crate::ui) fn report_nothing(model: &mut Model, what: &str) -> Vec<Effect> {
    model.add_notice(Level::Warn, what, vec![]);
    vec![]
}

pub(in crate::ui) fn toggle_help(model: &mut Model) -> Vec<Effect> {
    // The same key closes the help.
    if matches!(model.overlays.last(), Some(Overlay::Text(text)) if matches!(text.source, Source::Help))
    {
        return model.close_overlay();
    }
    push_text(model, Text::new("Keys", Source::Help))
}

pub(in crate::ui) fn open_notices(model: &mut Model) -> Vec<Effect> {
    push_text(model, Text::new("Notices", Source::Notices))
}

/// Enter: opens the selected row.
pub(in crate::ui) fn open_selected(model: &mut Model) -> Vec<Effect> {
    match model.pane {
        Pane::Apps => {
            model.pane = if model.selected_release().is_some() {
                Pane::Rollout
            } else {
                Pane::Environments
            };
            vec![]
        }
        Pane::Environments if model.drilled => super::logs::open_logs(model),
        Pane::Environments => {
            model.drilled = true;
            model.filters.remove(&Pane::Environments);
            vec![]
        }
        Pane::Rollout => match model
            .selected_release()
            .map(|(r, _)| r.clone())
            .zip(model.selected_task())
        {
            Some((release, task)) => {
                let source = Source::Task(release, task.name.clone());
                let text = Text::new(format!("Task {}", task.name), source);
                push_text(model, text)
            }
            None => report_nothing(model, "there is no task to open"),
        },
        Pane::Lanes => match model.selected_lane() {
            Some(_) if model.read_only => open_yaml(model),
            Some(_) => super::act::perform_action(model, Action::EditLane),
            None => {
                let key = model.key_for(KeyContext::Lanes, Action::NewLane);
                report_nothing(model, &format!("there is no lane; {key} adds one"))
            }
        },
        Pane::Trace if model.is_grouped() => {
            match model.selected_group().map(|g| Arc::clone(&g.key)) {
                Some(key) => {
                    (model.group, model.inside, model.chain) =
                        (Some(Arc::clone(&key)), Some(key), None);
                    vec![]
                }
                None => report_nothing(model, "there are no requests to open"),
            }
        }
        Pane::Trace => match model.selected_chain().cloned() {
            Some(chain) => {
                let fetch = traces::fetch_chain(model, &chain);
                let mut effects = push_text(
                    model,
                    Text::new(format!("Trace {}", chain.trace), Source::Chain(chain)),
                );
                effects.extend(fetch);
                effects
            }
            None => report_nothing(model, "there is no chain to open"),
        },
    }
}

pub(in crate::ui) fn open_events(model: &mut Model) -> Vec<Effect> {
    let own: Vec<ObjectKey> = match (
        model.drilled,
        model.selected_pod(),
        &model.app,
        model.selected_environment(),
    ) {
        (true, Some(pod), ..) => vec![pod.key.clone()],
        (_, _, Some(app), Some(environment)) => {
            let pods = model.facts.pods_of(app, &environment.name);
            let pods = pods.iter().map(|key| (**key).clone());
            let workloads = model
                .world
                .workloads_of(app, &environment.name)
                .map(|w| w.key.clone());
            pods.chain(workloads).collect()
        }
        _ => vec![],
    };
    push_text(
        model,
        Text::new("Events, newest first", Source::Events(own)),
    )
}

/// Shows how the selected App differs from its template.
pub(in crate::ui) fn open_template_diff(model: &mut Model) -> Vec<Effect> {
    let found = model
        .selected_app()
        .map(|app| (app.name_any(), apps::template_name(app).map(str::to_owned)));
    match found {
        Some((app, Some(template))) => {
            let text = Text::new(
                format!("{app} and its template {template}"),
                Source::Template(app, template),
            );
            push_text(model, text)
        }
        Some((app, None)) => report_nothing(model, &format!("{app} was made from no template")),
        None => report_nothing(model, "no app is selected"),
    }
}

/// Shows the values that the selected environment's manifests read.
pub(in crate::ui) fn open_variables(model: &mut Model) -> Vec<Effect> {
    let found = model.selected_environment().map(|e| e.name.clone());
    match model.app.clone().zip(found) {
        Some((app, environment)) => {
            let text = Text::new(
                format!("Values of {environment} of {app}"),
                Source::Variables(app, environment),
            );
            push_text(model, text)
        }
        None => report_nothing(model, "no environment is selected"),
    }
}

/// The last pod of the selected chain that is known.
pub(in crate::ui) fn selected_chain_pod(model: &Model) -> Option<&ObjectKey> {
    let steps = &model.selected_chain()?.steps;
    let name = steps.iter().rev().find_map(|step| step.pod.as_ref())?;
    let mut all = model.world.pods.keys().map(|key| &**key);
    all.find(|key| key.name == *name)
}

/// The selected object, as kubectl names it.
pub(in crate::ui) fn selected_object(model: &Model) -> Option<ObjectRef> {
    let ours = |plural: &str, name: &str| {
        Some(ObjectRef::own_resource(
            plural,
            &model.world.namespace,
            name,
        ))
    };
    match model.pane {
        Pane::Apps => ours("apps", model.app.as_ref()?),
        Pane::Environments if model.drilled => {
            let pod = model.selected_pod()?;
            Some(ObjectRef {
                resource: "pods".into(),
                key: pod.key.clone(),
            })
        }
        Pane::Environments => {
            let (app, environment) = (model.app.as_ref()?, model.selected_environment()?);
            match model.world.workloads_of(app, &environment.name).next() {
                Some(w) => Some(ObjectRef {
                    resource: w.kind.resource().into(),
                    key: w.key.clone(),
                }),
                None => ours("apps", app),
            }
        }
        Pane::Rollout => ours("releases", model.selected_release()?.0),
        Pane::Lanes => ours("lanes", model.selected_lane()?.0),
        Pane::Trace => Some(ObjectRef {
            resource: "pods".into(),
            key: selected_chain_pod(model)?.clone(),
        }),
    }
}

pub(in crate::ui) fn open_yaml(model: &mut Model) -> Vec<Effect> {
    match selected_object(model) {
        Some(object) => open_yaml_of(model, object),
        None => report_nothing(model, "nothing is selected"),
    }
}

pub(in crate::ui) fn open_yaml_of(model: &mut Model, object: ObjectRef) -> Vec<Effect> {
    let ticket = model.next_ticket();
    let mut text = Text::new(object.title(), Source::Yaml(object.clone()));
    (text.ticket, text.loading) = (Some(ticket), true);
    push_text(model, text);
    vec![Effect::Query(ticket, Query::Yaml(object))]
}

/// Describes the selected object; of an environment its workloads and Services.
pub(in crate::ui) fn open_description(model: &mut Model) -> Vec<Effect> {
    let mut target = match model.overlays.last() {
        Some(Overlay::Text(text)) => match &text.source {
            Source::Yaml(object) => DescribeTarget::of_object(object.clone()),
            _ => return vec![],
        },
        _ => match selected_object(model) {
            Some(object) => DescribeTarget::of_object(object),
            None => return report_nothing(model, "nothing is selected"),
        },
    };
    let of_environment =
        model.overlays.is_empty() && model.pane == Pane::Environments && !model.drilled;
    if let (true, Some(app), Some(environment)) =
        (of_environment, &model.app, model.selected_environment())
    {
        let workloads = model.world.workloads_of(app, &environment.name);
        let workloads: Vec<ObjectRef> = workloads
            .map(|w| ObjectRef {
                resource: w.kind.resource().into(),
                key: w.key.clone(),
            })
            .collect();
        if !workloads.is_empty() {
            target.objects = workloads;
            target.services_of = Some((app.clone(), environment.name.clone()));
        }
    }
    let Some(first) = target.objects.first().cloned() else {
        return vec![];
    };
    let ticket = model.next_ticket();
    let title = format!("Description of {}", first.title());
    let mut text = Text::new(title, Source::Described(first));
    (text.ticket, text.loading) = (Some(ticket), true);
    push_text(model, text);
    vec![Effect::Query(ticket, Query::Describe(target))]
}

/// Copies the shown text or the selected name. Everything shown is sanitized, so the copy is too.
pub(in crate::ui) fn copy_selected(model: &mut Model) -> Vec<Effect> {
    let copied = match model.overlays.last() {
        Some(Overlay::Text(text)) => {
            let copied = view::plain_text(model, text);
            let words = format_count(copied.lines().count(), "line");
            Some((copied.trim_end_matches('\n').to_owned(), words))
        }
        _ => {
            let name = match model.pane {
                Pane::Trace => model.selected_chain().map(|c| c.trace.clone()),
                _ => selected_object(model).map(|o| o.key.name),
            };
            name.map(|n| (n.clone(), n))
        }
    };
    match copied {
        Some((text, words)) => {
            model.add_notice(Level::Info, format!("copied {words}"), vec![]);
            vec![Effect::Copy(text)]
        }
        None => report_nothing(model, "there is nothing to copy"),
    }
}
