//! The form that creates Apps from a template.

use std::collections::BTreeMap;

use super::{Form, Remark};
use crate::{
    api::{App, AppTemplate},
    domain::apps::{self, ExistingObjects, Setting, SettingError},
    ui::{
        model::Model,
        question::{self, AskError, Question},
    },
};

struct AppsInput {
    template: String,
    names: Vec<String>,
    settings: Vec<Setting>,
}

/// Reads the fields; a setting that does not parse marks its field with the error.
fn read_fields(form: &mut Form) -> AppsInput {
    let split = |c: char| c == ',' || c.is_whitespace();
    let names = form
        .get("names")
        .split(split)
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
        .collect();
    let parsed: Vec<Result<Setting, SettingError>> = split_settings(form.get("set"))
        .into_iter()
        .map(|part| part.parse::<Setting>())
        .collect();
    let wrong = parsed
        .iter()
        .find_map(|p| p.as_ref().err().map(ToString::to_string));
    if let Some(field) = form.fields.iter_mut().find(|f| f.id == "set") {
        field.error = wrong;
    }
    AppsInput {
        template: form.get("template").to_owned(),
        names,
        settings: parsed.into_iter().flatten().collect(),
    }
}

/// Splits settings at semicolons, but not inside quotes or brackets.
fn split_settings(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote, mut depth) = (vec![], 0, None, 0u32);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ';') if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn build_apps(model: &Model, filled: &AppsInput) -> Result<(Vec<App>, AppTemplate), Vec<String>> {
    let world = &model.world;
    let gone = || vec![format!("template {} is gone", filled.template)];
    let template = world.templates.get(&filled.template).ok_or_else(gone)?;
    let groups: BTreeMap<_, _> = world
        .variables
        .iter()
        .map(|(name, group)| (name.as_str(), &**group))
        .collect();
    let around = ExistingObjects {
        apps: world.apps.values().map(|app| &**app).collect(),
        groups,
    };
    let apps = apps::make_apps(template, &filled.names, &filled.settings, &around)?;
    Ok((apps, AppTemplate::clone(template)))
}

/// Validates the form and previews the Apps that it would create.
pub(super) fn check_apps(model: &Model, form: &mut Form) {
    let filled = read_fields(form);
    let described = model
        .world
        .templates
        .get(&filled.template)
        .and_then(|t| t.spec.description.clone());
    form.remarks.extend(described.map(Remark::Fact));
    let typed = !filled.names.is_empty();
    match build_apps(model, &filled) {
        Ok((apps, _)) => form.remarks.extend(
            apps.iter()
                .map(|app| Remark::Plus(question::app_words(app))),
        ),
        // A form that was just opened shows no errors.
        Err(all) if typed => form.remarks.extend(all.into_iter().map(Remark::Wrong)),
        Err(_) => {
            if let Some(field) = form.fields.iter_mut().find(|f| f.id == "names") {
                field.error = Some("at least one name".into());
            }
        }
    }
    if typed && let Some(field) = form.fields.iter_mut().find(|f| f.id == "names") {
        field.error = None;
    }
}

/// Question that shows each App to be created.
pub(super) fn question_from_form(model: &Model, form: &mut Form) -> Result<Question, AskError> {
    let filled = read_fields(form);
    let (apps, template) =
        build_apps(model, &filled).map_err(|all| AskError::Refused(all.join("; ")))?;
    question::ask_to_create_apps(model, &apps, &template, &filled.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_part_settings_but_not_values() {
        let table: [(&str, &[&str]); 5] = [
            ("a=1; b=2 ;", &["a=1", "b=2"]),
            ("a=\"x;y\"; b='z;'", &["a=\"x;y\"", "b='z;'"]),
            ("a=[1;2];b={x: \";}\"}", &["a=[1;2]", "b={x: \";}\"}"]),
            ("", &[]),
            (" ; ", &[]),
        ];
        for (text, wanted) in table {
            assert_eq!(split_settings(text), wanted, "{text}");
        }
    }
}
