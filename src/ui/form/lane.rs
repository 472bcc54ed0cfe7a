//! Converts a lane spec to form fields and back. Each condition has its own field; an empty field
//! at the end takes the next condition.

use super::{Form, FormField};
use crate::{
    api::{Condition, LaneMatch, LaneSpec, OnLoss},
    domain::lanes::text,
    ui::model::Model,
};

const ON_LOSS_CHOICES: [(OnLoss, &str); 3] = [
    (OnLoss::FallBack, "fall back"),
    (OnLoss::Hold, "hold"),
    (OnLoss::Close, "close"),
];
const CONDITION_HINT: &str =
    "parameter group == gray · header x-user in a,b · cookie uid percent 10 · method == POST";

fn yes_no() -> Vec<String> {
    vec!["no".into(), "yes".into()]
}

/// Form fields for a spec.
pub(super) fn spec_to_fields(
    model: &Model,
    name: &str,
    spec: &LaneSpec,
    edit: bool,
) -> Vec<FormField> {
    let mut fields = vec![];
    if !edit {
        fields.extend(identity_fields(model, name, spec));
    }
    let share = spec.share.map(|s| s.to_string()).unwrap_or_default();
    let loss = ON_LOSS_CHOICES
        .iter()
        .position(|(l, _)| *l == spec.on_loss)
        .unwrap_or(0);
    fields.extend([
        FormField::text(
            "tag",
            "tag",
            &spec.tag,
            "what its requests carry; pods with that tag serve them",
        ),
        FormField::choice(
            "enabled",
            "enabled",
            yes_no(),
            usize::from(spec.enabled),
            "a disabled lane takes no request",
        ),
        FormField::text(
            "priority",
            "priority",
            &spec.priority.to_string(),
            "low numbers are tried first",
        ),
        FormField::text(
            "paths",
            "paths",
            &spec.rule.paths.join(", "),
            "prefixes at the entry, with commas; empty is all",
        ),
    ]);
    fields.extend(condition_fields("all", &spec.rule.all));
    fields.extend(condition_fields("any", &spec.rule.any));
    let losses = ON_LOSS_CHOICES
        .iter()
        .map(|(_, word)| (*word).to_owned())
        .collect();
    fields.extend([
        FormField::text(
            "share",
            "or a share",
            &share,
            "instead of conditions: percent of all requests",
        ),
        FormField::choice(
            "onLoss",
            "on loss",
            losses,
            loss,
            "when an app loses its last gray pod",
        ),
        FormField::choice(
            "strict",
            "strict",
            yes_no(),
            usize::from(spec.strict),
            "then a fallback counts as a leak",
        ),
    ]);
    fields
}

/// The fields that cannot be changed later.
fn identity_fields(model: &Model, name: &str, spec: &LaneSpec) -> [FormField; 2] {
    let groups: Vec<String> = model.world.groups.keys().cloned().collect();
    let at = groups.iter().position(|g| *g == spec.group).unwrap_or(0);
    [
        FormField::text(
            "name",
            "name",
            name,
            "of the Lane object: letters, digits, -",
        ),
        FormField::choice(
            "group",
            "group",
            groups,
            at,
            "whose entry and apps it is for",
        ),
    ]
}

/// A field for each condition, and an empty one.
fn condition_fields(kind: &str, conditions: &[Condition]) -> Vec<FormField> {
    let told = conditions.iter().map(text::format_condition);
    told.chain([String::new()])
        .enumerate()
        .map(|(i, told)| condition_field(kind, i, &told))
        .collect()
}

fn condition_field(list: &str, i: usize, value: &str) -> FormField {
    let label = match (list, i) {
        ("all", 0) => "all of",
        ("any", 0) => "any of",
        _ => "",
    };
    FormField::text(&format!("{list} {i}"), label, value, CONDITION_HINT)
}

/// Keeps exactly one empty field at the end of each list of conditions.
pub(super) fn tidy_condition_fields(form: &mut Form) {
    for list in ["all", "any"] {
        let prefix = format!("{list} ");
        let own = |f: &FormField| f.id.starts_with(&prefix);
        let here = form.fields.get(form.at).map(|f| f.id.clone());
        let Some(start) = form.fields.iter().position(own) else {
            continue;
        };
        let mut list_fields: Vec<FormField> =
            form.fields.iter().filter(|f| own(f)).cloned().collect();
        let last = list_fields.len() - 1;
        let keep = |(i, f): &(usize, FormField)| {
            !f.value().is_empty() || *i == last || Some(&f.id) == here.as_ref()
        };
        list_fields = list_fields
            .into_iter()
            .enumerate()
            .filter(keep)
            .map(|(_, f)| f)
            .collect();
        if list_fields.last().is_some_and(|f| !f.value().is_empty()) {
            list_fields.push(condition_field(list, last + 1, ""));
        }
        let at_new = list_fields
            .iter()
            .position(|f| Some(&f.id) == here.as_ref());
        for (i, field) in list_fields.iter_mut().enumerate() {
            let fresh = condition_field(list, i, "");
            (field.id, field.label) = (fresh.id, fresh.label);
        }
        let before = form.fields.len();
        form.fields.retain(|f| !own(f));
        let removed = before - form.fields.len();
        let added = list_fields.len();
        form.fields.splice(start..start, list_fields);
        if let Some(at) = at_new {
            form.at = start + at;
        } else if form.at >= start + removed {
            form.at = form.at + added - removed;
        }
    }
}

/// Name and spec from the form fields; a field with an invalid value gets its error set.
pub(super) fn fields_to_spec(form: &mut Form, base: &LaneSpec) -> (String, LaneSpec) {
    let mut spec = base.clone();
    let mut rule = LaneMatch::default();
    let mut name = String::new();
    for field in &mut form.fields {
        let value = field.value().to_owned();
        field.error = None;
        match field.id.as_str() {
            "name" => {
                if !is_object_name(&value) {
                    field.error =
                        Some("lower-case letters, digits and -, none of - at the ends".into());
                }
                name = value;
            }
            "group" => spec.group = value,
            "tag" => spec.tag = value,
            "enabled" => spec.enabled = value == "yes",
            "strict" => spec.strict = value == "yes",
            "priority" => match value.parse() {
                Ok(priority) => spec.priority = priority,
                Err(_) => field.error = Some("a whole number".into()),
            },
            "paths" => {
                rule.paths = value
                    .split(',')
                    .map(|p| p.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect();
                if rule.paths.iter().any(|p| !p.starts_with('/')) {
                    field.error = Some("each begins with /".into());
                }
            }
            "share" if value.is_empty() => spec.share = None,
            "share" => match value.trim_end_matches('%').trim().parse::<f64>() {
                Ok(share) if (0.0..=100.0).contains(&share) => spec.share = Some(share),
                _ => field.error = Some("a number from 0 to 100".into()),
            },
            "onLoss" => {
                spec.on_loss = ON_LOSS_CHOICES
                    .iter()
                    .find(|(_, w)| *w == value)
                    .map(|(l, _)| *l)
                    .unwrap_or_default();
            }
            id if !value.is_empty() => {
                match (id.split(' ').next(), text::parse_condition(&value)) {
                    (_, Err(error)) => field.error = Some(error.problem.to_string()),
                    (Some("any"), Ok(found)) => rule.any.push(found),
                    (_, Ok(found)) => rule.all.push(found),
                }
            }
            _ => {}
        }
    }
    spec.rule = rule;
    (name, spec)
}

fn is_object_name(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    value.chars().all(plain) && edge(value.chars().next()) && edge(value.chars().last())
}

/// Id of the field that a problem's path refers to.
pub(super) fn field_for_place(place: &str) -> String {
    let inner = place.strip_prefix("match.").unwrap_or(place);
    match inner.split_once('[') {
        Some((list @ ("all" | "any"), rest)) => {
            format!("{list} {}", rest.split(']').next().unwrap_or("0"))
        }
        Some((list, _)) => list.to_owned(),
        None => inner.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Condition, ConditionOn},
        ui::form::FormKind,
    };

    #[test]
    fn a_spec_survives_its_form() {
        let model = crate::ui::fixture::model();
        let mut spec_in = LaneSpec {
            tag: "gray".into(),
            group: "mse-demo".into(),
            enabled: true,
            ..LaneSpec::default()
        };
        spec_in.rule.paths = vec!["/A".into(), "/B".into()];
        spec_in.rule.all = vec![
            text::parse_condition("header x in a,\"b,c\"").unwrap(),
            text::parse_condition("method == GET").unwrap(),
        ];
        spec_in.rule.any = vec![Condition {
            on: ConditionOn::Parameter,
            key: Some("g".into()),
            ..text::parse_condition("param g == 1").unwrap()
        }];
        spec_in.on_loss = OnLoss::Close;
        spec_in.strict = true;
        let mut form = Form {
            kind: FormKind::Lane {
                name: Some("gray".into()),
                base: Box::default(),
            },
            title: String::new(),
            fields: spec_to_fields(&model, "gray", &spec_in, true),
            at: 0,
            remarks: vec![],
            tried: false,
        };
        tidy_condition_fields(&mut form);
        assert_eq!(
            fields_to_spec(
                &mut form,
                &LaneSpec {
                    group: "mse-demo".into(),
                    ..LaneSpec::default()
                }
            )
            .1,
            spec_in
        );
        assert!(form.fields.iter().all(|f| f.error.is_none()));
        assert_eq!(
            form.fields
                .iter()
                .filter(|f| f.id.starts_with("all "))
                .count(),
            3
        );
    }

    #[test]
    fn problems_find_their_field() {
        assert_eq!(field_for_place("match.all[1]"), "all 1");
        assert_eq!(field_for_place("match.paths[0]"), "paths");
        assert_eq!(field_for_place("tag"), "tag");
    }
}
