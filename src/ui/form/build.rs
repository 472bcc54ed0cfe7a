//! Builds forms with their initial values.

use super::{Form, FormField, FormKind, check_form};
use crate::api::App;
use crate::domain::apps::{self, offered_stages};
use crate::ui::{
    keymap::{Action, KeyContext},
    model::Model,
    question::AskError,
};

/// Starts a release of the marked Apps, or of the selected one.
pub fn start_form(model: &Model) -> Result<Form, AskError> {
    let here = &model.world.namespace;
    if let Some(away) = model
        .marked
        .iter()
        .find(|key| *key.namespace.name != **here)
    {
        return Err(AskError::TwoNamespaces {
            here: here.clone(),
            app: away.name.clone(),
            namespace: away.namespace.name.to_string(),
        });
    }
    let apps: Vec<String> = if model.marked.is_empty() {
        model.app.iter().cloned().collect()
    } else {
        model.marked.iter().map(|key| key.name.clone()).collect()
    };
    let first = apps
        .first()
        .and_then(|a| model.world.apps.get(a))
        .ok_or(AskError::NoApp)?;
    let stages = common_stages(model, &apps, first);
    if stages.is_empty() {
        return Err(AskError::NoCommonStage(apps));
    }
    let at = stages.len() - 1;
    let mut fields = vec![FormField::choice(
        "stage",
        "stage",
        stages,
        at,
        "which stage to run",
    )];
    for name in &apps {
        if let Some(app) = model.world.apps.get(name) {
            fields.extend(image_fields(model, name, app));
        }
    }
    fields.push(FormField::text(
        "comment",
        "comment",
        "",
        "why; shown to whoever approves",
    ));
    let title = match apps.as_slice() {
        [one] => format!("Release {one}"),
        many => format!("Release {} apps in one window", many.len()),
    };
    let mut form = Form {
        kind: FormKind::Start { apps },
        title,
        fields,
        at: 0,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    Ok(form)
}

/// The stages that are offered for all of these Apps.
fn common_stages(model: &Model, apps: &[String], first: &App) -> Vec<String> {
    let releases = || model.world.releases.values().map(|r| &**r);
    let has = |name: &String| {
        let offered = |app: &App| {
            let mut stages = offered_stages(app, releases()).into_iter();
            stages.any(|stage| stage.name == *name)
        };
        apps.iter()
            .all(|a| model.world.apps.get(a).is_some_and(|a| offered(a)))
    };
    offered_stages(first, releases())
        .into_iter()
        .map(|stage| stage.name.clone())
        .filter(has)
        .collect()
}

fn image_fields(model: &Model, name: &str, app: &App) -> Vec<FormField> {
    let mut fields = vec![];
    for (image, source) in &app.spec.images {
        let label = format!("{} {image}", model.facts.short_name(name));
        let hint = match &source.default {
            Some(default) => format!("build, or an existing reference such as {default}"),
            None => format!(
                "build, or an existing reference such as {}:1.0",
                source.repository
            ),
        };
        let known = image_info(model, name, image);
        let value = if known.builds {
            "build".to_owned()
        } else {
            source.default.clone().unwrap_or_default()
        };
        fields.push(FormField::text(
            &format!("image {name} {image}"),
            &label,
            &value,
            &hint,
        ));
    }
    fields
}

/// Creates Apps from a template.
pub fn new_apps_form(model: &Model) -> Result<Form, AskError> {
    let templates: Vec<String> = model.world.templates.keys().cloned().collect();
    if templates.is_empty() {
        return Err(AskError::NoTemplate);
    }
    let of = model
        .selected_app()
        .and_then(|app| apps::template_name(app));
    let at = templates
        .iter()
        .position(|t| Some(t.as_str()) == of)
        .unwrap_or(0);
    let fields = vec![
        FormField::choice(
            "template",
            "template",
            templates,
            at,
            "what each of them is made from",
        ),
        FormField::text("names", "names", "", "of the new apps, with blanks between"),
        FormField::text(
            "set",
            "set",
            "",
            "KEY=VALUE; ENVIRONMENT/KEY=VALUE; APP:KEY=VALUE",
        ),
    ];
    let mut form = Form {
        kind: FormKind::Apps,
        title: "New apps".into(),
        fields,
        at: 1,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    Ok(form)
}

struct ImageInfo {
    builds: bool,
}

fn image_info(model: &Model, app: &str, image: &str) -> ImageInfo {
    let stages = model
        .world
        .apps
        .get(app)
        .map(|a| a.spec.workflow.stages.as_slice())
        .unwrap_or_default();
    let builds = stages
        .iter()
        .flat_map(|s| &s.tasks)
        .any(|t| t.build.as_ref().is_some_and(|b| b.image == image));
    ImageInfo { builds }
}

/// Creates a lane, or edits the selected one.
pub fn lane_form(model: &Model, edit: bool) -> Result<Form, AskError> {
    let (kind, title, name, spec) = if edit {
        let none = || AskError::NoLaneToEdit {
            key: model.key_for(KeyContext::Lanes, Action::NewLane),
        };
        let (name, lane) = model.selected_lane().ok_or_else(none)?;
        let base = Box::new(lane.spec.clone());
        (
            FormKind::Lane {
                name: Some(name.clone()),
                base,
            },
            format!("Lane {name}"),
            name.clone(),
            lane.spec.clone(),
        )
    } else {
        let mut spec = crate::api::LaneSpec::default();
        let of = model.selected_lane().map(|(_, l)| l.spec.group.clone());
        spec.group = of
            .or_else(|| model.world.groups.keys().next().cloned())
            .ok_or(AskError::NoLaneGroup)?;
        let last = model
            .world
            .lanes
            .values()
            .filter(|l| l.spec.group == spec.group)
            .map(|l| l.spec.priority)
            .max();
        spec.priority = last.map_or(10, |p| p.saturating_add(10));
        (
            FormKind::Lane {
                name: None,
                base: Box::new(spec.clone()),
            },
            "New lane".to_owned(),
            String::new(),
            spec,
        )
    };
    let mut form = Form {
        kind,
        title,
        fields: super::lane::spec_to_fields(model, &name, &spec, edit),
        at: 0,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    Ok(form)
}

/// Sends a custom probe.
pub fn probe_form(model: &Model) -> Result<Form, AskError> {
    let groups: Vec<String> = model.world.groups.keys().cloned().collect();
    if groups.is_empty() {
        return Err(AskError::NoGroupToProbe);
    }
    let own = model.selected_lane().map(|(_, l)| l.spec.group.clone());
    let at = groups
        .iter()
        .position(|g| Some(g) == own.as_ref())
        .unwrap_or(0);
    let group = groups.get(at).cloned().unwrap_or_default();
    let (tagged, _) = crate::ui::update::suggest_probes(model, &group);
    let path = tagged
        .as_ref()
        .map_or_else(|| "/".to_owned(), |t| t.path.clone());
    let headers: Vec<String> = tagged
        .iter()
        .flat_map(|t| &t.headers)
        .map(|(k, v)| format!("{k}: {v}"))
        .collect();
    let fields = vec![
        FormField::choice(
            "group",
            "lane group",
            groups,
            at,
            "the lane group whose entry gets it",
        ),
        FormField::text(
            "path",
            "path",
            &path,
            "path and query at the entry: /A/a?group=gray",
        ),
        FormField::text(
            "headers",
            "headers",
            &headers.join("; "),
            "name: value; name: value",
        ),
        FormField::text("count", "count", "1", "how many times, up to 100"),
    ];
    let mut form = Form {
        kind: FormKind::Probe,
        title: "Probe".into(),
        fields,
        at: 1,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    Ok(form)
}

/// Asks what may differ in comparisons.
pub fn ignore_form(model: &Model) -> Form {
    let fields = vec![FormField::text(
        "list",
        "leave out",
        &model.ignored,
        "paths in a JSON body, or headers: $.time; $.items[*].id; cache-control",
    )];
    let mut form = Form {
        kind: FormKind::Ignore,
        title: "What may differ".into(),
        fields,
        at: 0,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    form
}

/// Asks for the reason of a lock.
pub fn lock_form(model: &Model) -> Result<Form, AskError> {
    let app = model.app.clone().ok_or(AskError::NoApp)?;
    let environment = model
        .selected_environment()
        .ok_or(AskError::NoEnvironment)?
        .name
        .clone();
    let fields = vec![FormField::text(
        "reason",
        "reason",
        "",
        "shown to whoever is refused",
    )];
    let title = format!("Lock {environment} of {app}");
    let mut form = Form {
        kind: FormKind::Lock { app, environment },
        title,
        fields,
        at: 0,
        remarks: vec![],
        tried: false,
    };
    check_form(model, &mut form);
    Ok(form)
}
