//! The question before Apps are created from a template.

use kube::ResourceExt;

use super::{AskError, ObservedObject, Question};
use crate::{
    api::{App, AppTemplate},
    domain::{apps::Setting, command_line::CommandLine, intent::Intent},
    ui::model::Model,
};

/// An App in one line: `pay: gray (lane gray), prod in demo; stages test, production`.
pub fn describe_app(app: &App) -> String {
    let spec = &app.spec;
    let environments: Vec<String> = spec
        .environments
        .iter()
        .map(|e| {
            let lane = e
                .lane
                .as_ref()
                .map(|l| format!(" (lane {l})"))
                .unwrap_or_default();
            format!("{}{lane} in {}", e.name, e.namespace)
        })
        .collect();
    let stages = spec.workflow.stage_names();
    let stages = if stages.is_empty() {
        "no stage".to_owned()
    } else {
        format!("stages {}", stages.join(", "))
    };
    format!("{}: {}; {stages}", app.name_any(), environments.join(", "))
}

/// Lists the Apps to be created.
pub fn ask_to_create_apps(
    model: &Model,
    apps: &[App],
    template: &AppTemplate,
    settings: &[Setting],
) -> Result<Question, AskError> {
    let (of, names) = (
        template.name_any(),
        apps.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
    );
    let shown = ObservedObject::from_world(&model.world, "apptemplates", &of, None)
        .ok_or_else(|| AskError::Gone("template", of.clone()))?;
    let intent = Intent::CreateApps {
        template: of.clone(),
        seen: Some(shown.to_seen()),
        names: names.clone(),
        settings: settings.to_vec(),
    };
    let title = match names.as_slice() {
        [one] => format!("Make app {one} from template {of}?"),
        many => format!("Make {} apps from template {of}?", many.len()),
    };
    let mut question = Question::new(title, "Make", intent, "", "apps sent");
    for app in apps {
        question.add_fact("app", describe_app(app));
        for (name, source) in &app.spec.images {
            let image = source.default.as_ref().unwrap_or(&source.repository);
            question.add_fact("image", format!("{} {name}: {image}", app.name_any()));
        }
    }
    for setting in settings {
        question.add_fact("set", setting.to_string());
    }
    question.happens = vec![
        "the apps are written; nothing of them runs before a release".into(),
        "each is checked by the server before the first is written; one that exists already is refused".into(),
        "a later change of the template touches none of them".into(),
    ];
    let line = CommandLine::graylane("app create")
        .args(&names)
        .option("--template", &of);
    question.kubectl.push(
        settings
            .iter()
            .fold(line, |line, s| line.option("--set", s.to_string())),
    );
    question.objects.push(shown);
    Ok(question)
}
