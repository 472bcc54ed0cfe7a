//! What the panes draw, row by row, and what kubectl prints of the same objects.

use std::sync::Arc;

use graylane::{
    domain::{text::format_coarse_age, world::World},
    ui::{Model, Msg, update},
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    facts::{at, name, of_kind},
    printed::{Row, of},
};
use crate::screen::{self, press, see};

const WIDE: (u16, u16) = (180, 45);

/// The whole screen, with nothing of its frames.
pub(super) fn lines(model: &mut Model) -> Vec<String> {
    let text = screen::shown(model, WIDE.0, WIDE.1);
    text.lines()
        .map(|row| row.replace(['│', '▌'], " "))
        .collect()
}

/// The words of the row in which `word` is one of the first three.
fn row<'a>(lines: &'a [String], word: &str) -> Option<Vec<&'a str>> {
    let mut rows = lines
        .iter()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    rows.find_map(|words| {
        let at = words.iter().take(3).position(|w| *w == word)?;
        Some(words[at..].to_vec())
    })
}

/// Everything in which what is drawn differs from what kubectl prints.
pub(super) fn differ(
    model: &mut Model,
    objects: &[Value],
    printed: &[Row],
    world: World,
) -> Vec<String> {
    let mut out = vec![];
    update(model, Msg::Tick(Timestamp::now()));
    see(model, world);
    model.zoom = true;
    let apps: Vec<&Value> = of_kind(objects, "App").collect();
    for app in &apps {
        // Those that wait come first.
        press(model, "1g");
        for _ in 1..apps.len() {
            if model.app.as_deref() != Some(name(app)) {
                press(model, "j");
            }
        }
        release(model, app, objects, printed, &mut out);
        press(model, "2");
        environments(model, app, objects, printed, &mut out);
    }
    press(model, "4");
    lanes(model, objects, printed, &mut out);
    out
}

fn says(out: &mut Vec<String>, what: &str, drawn: Option<&str>, kubectl: &str) {
    if drawn != Some(kubectl) {
        out.push(format!(
            "{what}: kubectl prints {kubectl:?}, drawn is {drawn:?}"
        ));
    }
}

/// The release that is looked at: its name, its phase, its tasks in their order with their signs.
fn release(
    model: &mut Model,
    app: &Value,
    objects: &[Value],
    printed: &[Row],
    out: &mut Vec<String>,
) {
    let drawn = lines(model);
    let row_of_app = row(&drawn, name(app));
    if row_of_app.is_none() {
        out.push(format!("app {} is not drawn", name(app)));
    }
    press(model, "3");
    let drawn = lines(model);
    let Some((looked_at, _)) = model
        .selected_release()
        .map(|(n, r)| (n.clone(), Arc::clone(r)))
    else {
        let any = of_kind(objects, "Release").any(|r| r["spec"]["app"] == app["metadata"]["name"]);
        if any {
            out.push(format!(
                "{}: kubectl has a release, none is drawn",
                name(app)
            ));
        }
        return;
    };
    let said = of_kind(objects, "Release")
        .find(|r| name(r) == looked_at)
        .unwrap();
    let head = drawn
        .iter()
        .find(|l| l.contains(&format!("Rollout {looked_at}")))
        .cloned()
        .unwrap_or_default();
    // What waits for a person is told by what he is asked for, what runs by what it does; the others by their phase.
    let phase = of(printed, "release.graylane.dev", &looked_at)("PHASE").to_lowercase();
    let lower = head.to_lowercase();
    let word = match phase.as_str() {
        "waiting" => lower.contains('?'),
        "running" => true,
        phase => lower.contains(phase),
    };
    if !word {
        out.push(format!(
            "release {looked_at}: kubectl prints {phase}, drawn is {head}"
        ));
    }
    let glyphs = model.options.glyphs;
    for task in said["status"]["tasks"].as_array().into_iter().flatten() {
        let (task_name, phase) = (
            task["name"].as_str().unwrap(),
            task["phase"].as_str().unwrap(),
        );
        let sign = match phase {
            "Pending" => glyphs.idle,
            "Waiting" => glyphs.wait,
            "Paused" => glyphs.held,
            "Succeeded" => glyphs.ok,
            "Skipped" => glyphs.gone,
            "Failed" => glyphs.bad,
            "Aborted" if task["startedAt"].is_null() => glyphs.idle,
            "Aborted" => glyphs.gone,
            _ => continue,
        };
        let found = drawn.iter().any(|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            words.windows(2).any(|w| w == [sign, task_name])
        });
        if !found {
            out.push(format!("{looked_at} {task_name}: kubectl has {phase}, no row begins with {sign} {task_name}"));
        }
    }
}

fn environments(
    model: &mut Model,
    app: &Value,
    objects: &[Value],
    printed: &[Row],
    out: &mut Vec<String>,
) {
    for (n, environment) in app["spec"]["environments"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        if environment["namespace"] != "demo" {
            continue;
        }
        let label = environment["name"].as_str().unwrap();
        let what = format!("{}/{label}", name(app));
        press(model, &format!("g{}", "j".repeat(n)));
        let drawn = lines(model);
        let status = &app["status"]["environments"][label];
        let words = row(&drawn, label).unwrap_or_default();
        let ready = of(
            printed,
            "deployment.apps",
            &format!("{}-{label}", name(app)),
        )("READY");
        let state = status["state"].as_str().unwrap_or("New");
        let first = if ready == "(no row)" { "-" } else { ready };
        says(out, &format!("{what} READY"), words.get(1).copied(), first);
        says(
            out,
            &format!("{what} lane"),
            words.get(2).copied(),
            environment["lane"].as_str().unwrap_or("base"),
        );
        // Where nothing was deployed the state stands there, in words.
        let state = match state {
            "New" => "not",
            "Cleaned" => "cleaned",
            other => other,
        };
        let image = status["images"]["backend"]
            .as_str()
            .and_then(|i| i.rsplit(':').next())
            .unwrap_or(state);
        says(out, &format!("{what} image"), words.get(3).copied(), image);
        if let Some(version) = status["version"].as_str() {
            says(
                out,
                &format!("{what} version"),
                words.get(4).copied(),
                version,
            );
        }
        press(model, "<enter>");
        pods(model, &what, app, label, objects, printed, out);
        press(model, "<esc>");
    }
}

fn pods(
    model: &mut Model,
    what: &str,
    app: &Value,
    environment: &str,
    objects: &[Value],
    printed: &[Row],
    out: &mut Vec<String>,
) {
    let drawn = lines(model);
    let mine = of_kind(objects, "Pod").filter(|p| {
        at(p, "metadata/labels/graylane.dev~1app") == app["metadata"]["name"]
            && at(p, "metadata/labels/graylane.dev~1environment") == environment
    });
    let mut count = 0;
    for pod in mine {
        count += 1;
        let cell = of(printed, "pod", name(pod));
        let Some(words) = row(&drawn, name(pod)) else {
            out.push(format!(
                "{what}: kubectl prints pod {}, it is not drawn",
                name(pod)
            ));
            continue;
        };
        let born: Timestamp = pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let restarts = cell("RESTARTS").split(' ').next().unwrap_or_default();
        let tag = at(pod, "metadata/labels/alicloud.service.tag");
        let expected = [
            ("AGE", format_coarse_age(model.now, born)),
            ("IP", cell("IP").to_owned()),
            ("tag", tag.as_str().unwrap_or("-").to_owned()),
            ("RESTARTS", restarts.to_owned()),
            ("STATUS", cell("STATUS").to_owned()),
        ];
        for (i, (heading, kubectl)) in expected.iter().enumerate() {
            says(
                out,
                &format!("pod {} {heading}", name(pod)),
                words.get(i + 1).copied(),
                kubectl,
            );
        }
    }
    if model.visible_pods().len() != count {
        out.push(format!(
            "{what}: kubectl has {count} pods, {} are drawn",
            model.visible_pods().len()
        ));
    }
}

fn lanes(model: &mut Model, objects: &[Value], printed: &[Row], out: &mut Vec<String>) {
    let drawn = lines(model);
    let glyphs = model.options.glyphs;
    for lane in of_kind(objects, "Lane") {
        let cell = of(printed, "lane.graylane.dev", name(lane));
        let line = drawn
            .iter()
            .position(|l| l.split_whitespace().nth(1) == Some(name(lane)));
        let Some(line) = line else {
            out.push(format!("lane {} is not drawn", name(lane)));
            continue;
        };
        let words: Vec<&str> = drawn[line].split_whitespace().collect();
        let enabled = if cell("ENABLED") == "true" {
            glyphs.full
        } else {
            glyphs.empty
        };
        says(out, "lane ENABLED", words.first().copied(), enabled);
        says(
            out,
            "lane PRIORITY",
            words.get(2).copied(),
            &format!("#{}", cell("PRIORITY")),
        );
        for app in lane["status"]["apps"].as_array().into_iter().flatten() {
            let sign = if app["served"] == "gray" {
                glyphs.full
            } else {
                glyphs.empty
            };
            let cell = format!(
                "{}{sign}",
                model.facts.short_name(app["app"].as_str().unwrap())
            );
            let found = drawn[line..]
                .iter()
                .take(3)
                .any(|l| l.split_whitespace().any(|w| w == cell));
            if !found {
                out.push(format!(
                    "lane {}: kubectl has {app}, {cell} is not drawn",
                    name(lane)
                ));
            }
        }
    }
}
