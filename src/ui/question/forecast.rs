//! Forecasts what a yes leads to: every step that the engine will take until the next stop, and the
//! current state of lanes and traffic.

use kube::ResourceExt;

use super::{Question, in_place};
use crate::{
    api::{App, Approval, Lane, ObjectRef, Release, Served},
    domain::{
        text::format_count,
        workflow::{Forecast, ForecastInput, ForecastStep, ForecastStop, forecast_release},
        world::Workload,
    },
    ui::model::Model,
};

/// Forecast of a release after this intent and this approval.
pub(super) fn forecast_from_world(
    model: &Model,
    app: &App,
    release: &Release,
    decided: Option<&Approval>,
) -> Forecast {
    let world = &model.world;
    let others: Vec<&Release> = world.releases.values().map(|r| &**r).collect();
    let mine = |a: &&Approval| a.spec.release == release.name_any();
    let approvals: Vec<&Approval> = world
        .approvals
        .values()
        .map(|a| &**a)
        .filter(mine)
        .chain(decided)
        .collect();
    let workload_of = |ObjectRef { kind, key, .. }: &ObjectRef| -> Option<&Workload> {
        if kind == "StatefulSet" {
            world.stateful.get(key)
        } else {
            world.deployments.get(key)
        }
    };
    forecast_release(&ForecastInput {
        app,
        release,
        others: &others,
        approvals: &approvals,
        workload_of: &workload_of,
    })
}

/// Adds the steps and their cost; a forecast that changes production requires its name to be typed.
pub(super) fn add_steps(model: &Model, question: &mut Question, app: &App, forecast: &Forecast) {
    let name = app.name_any();
    question
        .happens
        .extend(describe_steps(model, app, forecast));
    for environment in forecast.deployed_environments() {
        question
            .doubts
            .extend(in_place::describe_cost(model, &name, environment));
    }
    if let Some(production) =
        production_environment(app).filter(|production| forecast.moves_pods_of(production))
    {
        question.require_typed_name(production);
    }
}

/// Production is the last environment in promotion order, unless that has a lane.
pub(super) fn production_environment(app: &App) -> Option<&str> {
    app.spec
        .environments
        .last()
        .filter(|e| e.lane.is_none())
        .map(|e| e.name.as_str())
}

/// One line per step, then the stop.
pub(super) fn describe_steps(model: &Model, app: &App, forecast: &Forecast) -> Vec<String> {
    let mut told: Vec<String> = vec![];
    let mut known: Vec<&str> = vec![];
    for step in &forecast.steps {
        told.push(describe_step(model, app, step));
        if let ForecastStep::Batch {
            environment,
            numbers,
            of,
            ..
        } = step
        {
            let name = app.name_any();
            let workloads: Vec<&Workload> = model.world.workloads_of(&name, environment).collect();
            if workloads.is_empty() {
                continue;
            }
            if !known.contains(&environment.as_str()) && numbers.0 == numbers.1 {
                known.push(environment);
                if let Some(last) = told.last_mut() {
                    *last += &format!("; {}", in_place::describe_replacement(&workloads));
                }
            }
            let gray = app
                .spec
                .environment(environment)
                .is_some_and(|e| e.lane.is_some());
            if numbers.1 == *of
                && !gray
                && let Some(last) = told.last_mut()
            {
                *last += &format!("; {}", in_place::describe_last_batch(&workloads));
            }
        }
    }
    told.push(describe_stop(&forecast.stop));
    told
}

fn describe_step(model: &Model, app: &App, step: &ForecastStep) -> String {
    match step {
        ForecastStep::Build { task, image } => format!("{task}: image {image} is built"),
        ForecastStep::UseImage { task, image } => {
            format!("{task}: nothing is built, {image} is used")
        }
        ForecastStep::Wait {
            task,
            environment,
            holder,
        } => {
            format!("{task}: waits until release {holder}, which holds {environment}, is over")
        }
        ForecastStep::Unchanged { task, environment } => {
            format!("{task}: {environment} runs this already, no pod moves")
        }
        ForecastStep::Batch {
            task,
            environment,
            numbers,
            of: _,
            pods: _,
            size,
        } if numbers.0 < numbers.1 => {
            format!(
                "{task}: all {} of {environment} are replaced at once",
                format_count(*size, "pod")
            )
        }
        ForecastStep::Batch {
            task,
            environment,
            of: 1,
            pods: (_, after),
            ..
        } => {
            format!(
                "{task}: {environment} gets the new version, {} in one batch",
                format_count(*after, "pod")
            )
        }
        ForecastStep::Batch {
            task,
            environment,
            numbers,
            of,
            pods: (before, after),
            size,
        } => {
            let more = after.saturating_sub(*before);
            let more = if more == 1 {
                "1 more new pod".into()
            } else {
                format!("{more} more new pods")
            };
            format!(
                "{task}: batch {} of {of} in {environment}: {more}, {before} → {after} of {size}",
                numbers.0
            )
        }
        ForecastStep::Verify {
            task,
            group,
            probes,
        } => {
            let probes = if *probes == 1 {
                "1 probe".into()
            } else {
                format!("{probes} probes")
            };
            format!("{task}: {probes} through {group} must come back as expected")
        }
        ForecastStep::TakeDown {
            task,
            environment,
            removes,
        } => describe_teardown(model, app, task, environment, *removes),
        ForecastStep::Skip { task } => format!("{task} is skipped"),
    }
}

fn describe_teardown(
    model: &Model,
    app: &App,
    task: &str,
    environment: &str,
    removes: bool,
) -> String {
    let name = app.name_any();
    let running: u32 = model
        .world
        .workloads_of(&name, environment)
        .map(|w| w.replicas)
        .fold(0, u32::saturating_add);
    let goes = if running == 0 {
        "what runs there".into()
    } else {
        format_count(running, "pod")
    };
    let tag = app
        .spec
        .environment(environment)
        .and_then(|e| e.lane.as_deref());
    let tagged =
        tag.map(|tag| format!("; requests tagged {tag} take the baseline of {name} from then on"));
    let gone = if removes { ", and leaves the App" } else { "" };
    format!(
        "{task}: {environment} is taken down ({goes}){gone}{}",
        tagged.unwrap_or_default()
    )
}

fn describe_stop(stop: &ForecastStop) -> String {
    match stop {
        ForecastStop::Approval {
            task,
            given,
            needed,
            passed_over,
        } => {
            let one = *needed == 1;
            let waits = if one {
                "an approval".into()
            } else {
                format!("approvals, {given} of {needed} given")
            };
            let over = passed_over.join(", ");
            let over = if over.is_empty() {
                over
            } else {
                format!("; does not count: {over}")
            };
            format!("then it stops: {task} waits for {waits}{over}")
        }
        ForecastStop::Proceed { task, prompt } => {
            let prompt = prompt
                .as_ref()
                .map(|p| format!(" ({p})"))
                .unwrap_or_default();
            format!("then it stops: {task} waits for the go-ahead{prompt}")
        }
        ForecastStop::Batch {
            environment,
            number,
            of,
            ..
        } => {
            format!("then it stops: batch {number} of {of} in {environment} waits to proceed")
        }
        ForecastStop::Locked { task, environment } => {
            format!("then it stops: {task} waits: {environment} is locked")
        }
        ForecastStop::Failed { task, why } if why.is_empty() => {
            format!("then it stops: {task} has failed")
        }
        ForecastStop::Failed { task, why } => format!("then it stops: {task} fails: {why}"),
        ForecastStop::Held => "nothing more: it is paused".into(),
        ForecastStop::End => "then the release is done".into(),
    }
}

/// Adds the lanes that the App is part of, and the traffic of the last minute.
pub(super) fn add_current_state(model: &Model, question: &mut Question, app: &App) {
    let name = app.name_any();
    for (lane_name, lane) in model.world.lanes.iter() {
        let group = model.world.groups.get(&lane.spec.group);
        let part = group.is_some_and(|g| g.spec.apps.iter().any(|a| a.app == name));
        if !part || app.spec.environment_of_lane(&lane.spec.tag).is_none() {
            continue;
        }
        if !lane.spec.enabled {
            add_fact_once(question, "lane", format!("{lane_name} is off"));
            add_doubt_once(
                question,
                format!("lane {lane_name} is off: no request takes the new version"),
            );
            continue;
        }
        let told = describe_served(model, lane);
        add_fact_once(question, "lane", format!("{lane_name} is on{told}"));
    }
    add_traffic(model, question);
}

// Several Apps in one window share warnings and facts; each is added once.

fn add_doubt_once(question: &mut Question, words: String) {
    if !question.doubts.contains(&words) {
        question.doubts.push(words);
    }
}

fn add_fact_once(question: &mut Question, label: &str, words: String) {
    if !question.facts.contains(&(label.to_owned(), words.clone())) {
        question.add_fact(label, words);
    }
}

/// Which apps serve a lane by which version.
fn describe_served(model: &Model, lane: &Lane) -> String {
    let status = lane.status.clone().unwrap_or_default();
    let served = |by: Served| {
        let all = status
            .apps
            .iter()
            .filter(|a| a.served == by)
            .map(|a| model.facts.short_name(&a.app));
        let all: Vec<&str> = all.collect();
        (!all.is_empty()).then(|| format!("{} by {}", all.join(", "), by.as_str()))
    };
    let told: Vec<String> = [served(Served::Gray), served(Served::Base)]
        .into_iter()
        .flatten()
        .collect();
    if told.is_empty() {
        String::new()
    } else {
        format!(": {}", told.join("; "))
    }
}

/// Adds the traffic of the last minute.
fn add_traffic(model: &Model, question: &mut Question) {
    let traffic = model.facts.figures.traffic.clone();
    if traffic.chains == 0 {
        add_fact_once(
            question,
            "traffic",
            "no request seen in the last minute".into(),
        );
        return;
    }
    let requests = format_count(traffic.chains, "request");
    add_fact_once(
        question,
        "traffic",
        format!(
            "{requests} in the last minute, {} tagged; {} leaked, {} failed",
            traffic.tagged, traffic.leaks, traffic.failed
        ),
    );
    // A leak is a warning before more pods are replaced.
    if traffic.leaks + traffic.failed > 0 {
        let worst = traffic.worst.unwrap_or_default();
        add_doubt_once(
            question,
            format!(
                "in the last minute {} leaks, {} failed: {worst}",
                traffic.leaks, traffic.failed
            ),
        );
    }
}
