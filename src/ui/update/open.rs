//! Opens what belongs to the selection: details on Enter, logs, events, YAML, help, clipboard.

use kube::ResourceExt;

use crate::{
    api::ObjectRef,
    domain::{apps, text::format_count, world::ObjectKey},
    ui::{
        effect::{DescribeTarget, Effect, Query},
        model::{Level, Model, Overlay, Source, Text},
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
    model.pane.behaviour().open_selected(model)
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

pub(in crate::ui) fn open_yaml(model: &mut Model) -> Vec<Effect> {
    match model.selected_object() {
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

/// Describes the shown or selected object.
pub(in crate::ui) fn open_description(model: &mut Model) -> Vec<Effect> {
    let target = match model.overlays.last() {
        Some(Overlay::Text(text)) => match &text.source {
            Source::Yaml(object) => DescribeTarget::of_object(object.clone()),
            _ => return vec![],
        },
        _ => match model.pane.behaviour().described_objects(model) {
            Some(target) => target,
            None => return report_nothing(model, "nothing is selected"),
        },
    };
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
    let copied = if let Some(Overlay::Text(text)) = model.overlays.last() {
        let copied = view::plain_text(model, text);
        let words = format_count(copied.lines().count(), "line");
        Some((copied.trim_end_matches('\n').to_owned(), words))
    } else {
        let name = model.pane.behaviour().copied_name(model);
        name.map(|n| (n.clone(), n))
    };
    match copied {
        Some((text, words)) => {
            model.add_notice(Level::Info, format!("copied {words}"), vec![]);
            vec![Effect::Copy(text)]
        }
        None => report_nothing(model, "there is nothing to copy"),
    }
}
