//! Validates forms on every key press and turns them into a question; a probe is sent directly.

use std::collections::BTreeMap;

use super::{Form, FormKind, Remark, chosen_images, lane};
use crate::{
    api::{EnvironmentLock, LaneSpec, ProbeSpec, Task},
    domain::{
        diff::Ignored,
        intent::ProbeRequest,
        lanes::{self, EntryOutcome, LaneChoice, Severity},
        request,
    },
    ui::{
        model::Model,
        question::{self, AskError, Question, set_lane},
        rule,
        update::count_differences,
    },
};

/// Result of submitting a form.
pub enum Submitted {
    /// Ask for confirmation first.
    Ask(Box<Question>),
    /// Nothing changes in the cluster, so send it now.
    Probe(Box<ProbeRequest>),
    /// Leave these out of comparisons.
    Ignore(String),
}

/// Validates the form and previews the change.
pub fn check_form(model: &Model, form: &mut Form) {
    form.remarks.clear();
    match form.kind.clone() {
        FormKind::Start { apps } => check_start(model, form, &apps),
        FormKind::Apps => super::apps::check_apps(model, form),
        FormKind::Lane { name, base } => check_lane(model, form, name.as_deref(), &base),
        FormKind::Probe => {
            let (_, wrong) = read_probe(form);
            let group = form.get("group").to_owned();
            form.remarks.extend(wrong.into_iter().map(Remark::Wrong));
            form.remarks
                .extend(describe_lane_choice(model, form, &group).map(Remark::Fact));
        }
        FormKind::Ignore => check_ignored(model, form),
        FormKind::Lock { .. } => {
            if form.get("reason").is_empty() {
                form.remarks.push(Remark::Doubt(
                    "without a reason others can only guess".into(),
                ));
            }
        }
    }
}

fn check_ignored(model: &Model, form: &mut Form) {
    match Ignored::parse_list(form.get("list")) {
        Err(why) => form.remarks.push(Remark::Wrong(why.to_string())),
        Ok(ignored) => {
            if let Some((all, left)) = count_differences(model, &ignored) {
                let words = format!("{left} of {all} differences are left");
                form.remarks.push(Remark::Fact(words));
            }
        }
    }
}

fn check_start(model: &Model, form: &mut Form, apps: &[String]) {
    let stage = form.get("stage").to_owned();
    let mut remarks = vec![];
    for name in apps {
        let Some(app) = model.world.apps.get(name) else {
            remarks.push(Remark::Wrong(format!("app {name} is gone")));
            continue;
        };
        if let Some(found) = app.spec.stage(&stage) {
            let built: Vec<&str> = found
                .tasks
                .iter()
                .filter_map(|t| t.build.as_ref())
                .map(|b| b.image.as_str())
                .collect();
            for field in form
                .fields
                .iter_mut()
                .filter(|f| f.id.starts_with(&format!("image {name} ")))
            {
                let image = field.id.rsplit(' ').next().unwrap_or_default().to_owned();
                let value = field.value();
                let needs = !built.contains(&image.as_str());
                let source = app.spec.images.get(&image).and_then(|s| s.default.as_ref());
                field.error = match value {
                    "build" if needs => {
                        Some(format!("stage {stage} builds no {image}: name a reference"))
                    }
                    "" if needs && source.is_none() => Some("a reference is needed".into()),
                    v if v.contains(char::is_whitespace) => {
                        Some("a reference has no spaces".into())
                    }
                    _ => None,
                };
            }
            let steps: Vec<&str> = found.tasks.iter().map(|t: &Task| t.name.as_str()).collect();
            remarks.push(Remark::Fact(format!(
                "{}: {}",
                model.facts.short_name(name),
                steps.join(" → ")
            )));
        }
        if let Some(running) = model.facts.active_of(name) {
            remarks.push(Remark::Doubt(format!(
                "release {running} is still under way"
            )));
        }
        for environment in app.spec.environments.iter().filter(|e| e.lock.is_some()) {
            if let Some(lock) = &environment.lock {
                let (short, env) = (model.facts.short_name(name), &environment.name);
                remarks.push(Remark::Doubt(format!(
                    "{env} of {short} is locked by {}: {}",
                    lock.by, lock.reason
                )));
            }
        }
    }
    form.remarks = remarks;
}

fn check_lane(model: &Model, form: &mut Form, old: Option<&str>, base: &LaneSpec) {
    lane::tidy_condition_fields(form);
    let (typed, spec) = lane::fields_to_spec(form, base);
    let name = old.map_or(typed, str::to_owned);
    let mut remarks = vec![];
    if let Some(why) = lane_moved_on(model, old, base) {
        remarks.push(Remark::Wrong(why));
    }
    for problem in rule::check_lane(&model.world, &name, &spec) {
        let id = lane::field_for_place(&problem.place);
        let own = problem.lane == name;
        let field = form.fields.iter_mut().find(|f| own && f.id == id);
        match (problem.severity, field) {
            (Severity::Error, Some(field)) => _ = field.error.get_or_insert(problem.text),
            (Severity::Error, _) => remarks.push(Remark::Wrong(problem.text)),
            (Severity::Warning, _) if own => remarks.push(Remark::Doubt(problem.text)),
            (Severity::Warning, _) => remarks.push(Remark::Doubt(format!(
                "lane {}: {}",
                problem.lane, problem.text
            ))),
        }
    }
    if old.is_none() && model.world.lanes.contains_key(&name) {
        remarks.push(Remark::Wrong(format!("there is a lane {name} already")));
    }
    let moves = rule::describe_moves(&model.world, &spec.group, &name, Some(&spec));
    let kinds = rule::recent_requests(&model.world, &spec.group).len();
    match (kinds, moves.len()) {
        (0, _) => {}
        (_, 0) => remarks.push(Remark::Fact(
            "no request seen lately would take another lane".into(),
        )),
        (_, n) => remarks.push(Remark::Fact(format!(
            "of {kinds} different requests seen lately {n} would move"
        ))),
    }
    remarks.extend(moves.into_iter().take(4).map(Remark::Fact));
    remarks.extend(question::diff_specs(old.and(Some(base)), &spec));
    form.remarks = remarks;
}

/// Error when the lane was changed or deleted while the form was open.
fn lane_moved_on(model: &Model, name: Option<&str>, base: &LaneSpec) -> Option<String> {
    let name = name?;
    match model.world.lanes.get(name) {
        None => Some(format!("lane {name} is gone")),
        Some(lane) if lane.spec != *base => Some(format!(
            "lane {name} was changed by somebody since this form was opened: close it and look again"
        )),
        Some(_) => None,
    }
}

fn read_probe(form: &mut Form) -> (ProbeSpec, Vec<String>) {
    let mut spec = ProbeSpec {
        path: form.get("path").to_owned(),
        count: 1,
        ..ProbeSpec::default()
    };
    for field in &mut form.fields {
        field.error = None;
        match field.id.as_str() {
            "path" if !field.value().starts_with('/') => field.error = Some("begins with /".into()),
            "count" => match field.value().parse() {
                Ok(count @ 1..=100) => spec.count = count,
                _ => field.error = Some("a number from 1 to 100".into()),
            },
            "headers" => {
                let mut headers = BTreeMap::new();
                let written = field.value().to_owned();
                for part in written.split(';').map(str::trim).filter(|p| !p.is_empty()) {
                    match part.split_once(':') {
                        Some((name, value)) => {
                            headers.insert(name.trim().to_owned(), value.trim().to_owned());
                        }
                        None => {
                            field.error =
                                Some(format!("{part:?} is not a header: write name: value"));
                        }
                    }
                }
                spec.headers = headers;
            }
            _ => {}
        }
    }
    let wrong = spec
        .path
        .contains(char::is_whitespace)
        .then(|| "a path has no spaces: write %20".to_owned());
    (spec, wrong.into_iter().collect())
}

/// Says which lane would take the request.
fn describe_lane_choice(model: &Model, form: &Form, group: &str) -> Option<String> {
    let headers: Vec<String> = form
        .get("headers")
        .split(';')
        .map(|h| h.trim().to_owned())
        .filter(|h| h.contains(':'))
        .collect();
    let request = request::parse_request(form.get("path"), &headers, &[]).ok()?;
    let lanes: Vec<crate::api::Lane> = model.world.lanes.values().map(|l| (**l).clone()).collect();
    let found = model.world.groups.get(group)?;
    let entrance = lanes::EntryContext {
        group: found,
        lanes: &lanes,
        routes: None,
        gateway: None,
    };
    Some(match lanes::explain_request(&entrance, &request).outcome {
        EntryOutcome::Forwarded(LaneChoice {
            lane: Some(lane),
            tag,
        }) => {
            format!("lane {lane} takes it: tag {}", tag.unwrap_or_default())
        }
        EntryOutcome::Forwarded(LaneChoice {
            lane: None,
            tag: None,
        }) => "no lane takes it: the baseline".into(),
        other => format!("it {}", other.describe_outcome(group)),
    })
}

/// Submits the form; the error says what is wrong with it.
pub fn submit_form(model: &Model, form: &mut Form) -> Result<Submitted, AskError> {
    check_form(model, form);
    form.tried = true;
    if let Some(wrong) = form.fields.iter().find(|f| f.error.is_some()) {
        let id = wrong.id.clone();
        form.at = form
            .fields
            .iter()
            .position(|f| f.id == id)
            .unwrap_or(form.at);
        return Err(AskError::Invalid);
    }
    if let Some(Remark::Wrong(why)) = form.remarks.iter().find(|r| matches!(r, Remark::Wrong(_))) {
        return Err(AskError::Refused(why.clone()));
    }
    let asked = match form.kind.clone() {
        FormKind::Start { apps } => {
            let comment = Some(form.get("comment").to_owned()).filter(|c| !c.is_empty());
            question::ask_to_start(
                model,
                &apps,
                form.get("stage"),
                chosen_images(form, &apps),
                comment,
            )
        }
        FormKind::Apps => super::apps::question_from_form(model, form),
        FormKind::Lane { name, base } => {
            let (typed, spec) = lane::fields_to_spec(form, &base);
            set_lane(
                model,
                name.as_deref().unwrap_or(&typed),
                name.is_none(),
                &spec,
            )
        }
        FormKind::Probe => {
            return Ok(Submitted::Probe(Box::new(ProbeRequest {
                group: form.get("group").to_owned(),
                probe: read_probe(form).0,
            })));
        }
        FormKind::Ignore => return Ok(Submitted::Ignore(form.get("list").to_owned())),
        FormKind::Lock { app, environment } => {
            let lock = EnvironmentLock {
                by: model.world.acting_user().to_owned(),
                reason: form.get("reason").to_owned(),
            };
            question::ask_to_lock(model, &app, &environment, Some(lock))
        }
    }?;
    Ok(Submitted::Ask(Box::new(asked)))
}
