//! Containers: image, resources, ports, state, and how the last run ended.

use serde_json::Value;

use super::{Outline, Tone, join_map, list, show};

/// Describes all containers of a pod, or of a pod template, which has no status.
pub(super) fn add_containers(out: &mut Outline, spec: &Value, status: &Value) {
    let groups = [
        ("initContainers", "initContainerStatuses", "Init containers"),
        ("containers", "containerStatuses", "Containers"),
        (
            "ephemeralContainers",
            "ephemeralContainerStatuses",
            "Ephemeral containers",
        ),
    ];
    for (field, status_field, title) in groups {
        if list(&spec[field]).next().is_none() {
            continue;
        }
        out.heading(title);
        for container in list(&spec[field]) {
            out.add(
                1,
                "",
                container["name"].as_str().unwrap_or_default(),
                Tone::Plain,
            );
            add_template(out, container);
            if let Some(state) =
                list(&status[status_field]).find(|s| s["name"] == container["name"])
            {
                add_status(out, state);
            }
        }
    }
}

fn add_line(out: &mut Outline, label: &str, text: &str, tone: Tone) {
    if !text.is_empty() {
        out.add(2, label, text, tone);
    }
}

fn add_template(out: &mut Outline, container: &Value) {
    let ports: Vec<String> = list(&container["ports"])
        .map(|port| {
            let name = port["name"].as_str().map(|n| format!("{n} "));
            format!(
                "{}{}",
                name.unwrap_or_default(),
                show(&port["containerPort"])
            )
        })
        .collect();
    let resources = &container["resources"];
    for (label, text) in [
        ("image", show(&container["image"])),
        ("ports", ports.join(", ")),
        ("requests", join_map(&resources["requests"])),
        ("limits", join_map(&resources["limits"])),
    ] {
        add_line(out, label, &text, Tone::Plain);
    }
}

fn add_status(out: &mut Outline, status: &Value) {
    let digest = status["imageID"]
        .as_str()
        .and_then(|id| id.rsplit_once('@'));
    add_line(
        out,
        "digest",
        digest.map_or("", |(_, digest)| digest),
        Tone::Plain,
    );
    let (text, tone) = describe_state(out, &status["state"]);
    let (text, tone) = match (tone, status["ready"] == true) {
        (Tone::Good, false) => (text + ", not ready", Tone::Warn),
        (tone, _) => (text, tone),
    };
    add_line(out, "state", &text, tone);
    let restarts = status["restartCount"].as_u64().unwrap_or(0);
    if restarts > 0 {
        add_line(out, "restarts", &restarts.to_string(), Tone::Warn);
    }
    if status["lastState"]
        .as_object()
        .is_some_and(|state| !state.is_empty())
    {
        let (text, _) = describe_state(out, &status["lastState"]);
        add_line(out, "run before", &text, Tone::Warn);
    }
}

/// `running for 5m`, `waiting: CrashLoopBackOff: …`, `ended 3m ago with code 1: Error`.
fn describe_state(out: &Outline, state: &Value) -> (String, Tone) {
    let why = |state: &Value| {
        let parts = [&state["reason"], &state["message"]];
        let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).collect();
        match parts.join(": ") {
            why if why.is_empty() => why,
            why => format!(": {why}"),
        }
    };
    let (running, waiting, ended) = (&state["running"], &state["waiting"], &state["terminated"]);
    if !running.is_null() {
        let age = out.age(&running["startedAt"]);
        let age = age.map(|age| format!(" for {age}")).unwrap_or_default();
        return (format!("running{age}"), Tone::Good);
    }
    if !waiting.is_null() {
        return (format!("waiting{}", why(waiting)), Tone::Warn);
    }
    if ended.is_null() {
        return (String::new(), Tone::Plain);
    }
    let age = out.age(&ended["finishedAt"]);
    let age = age.map(|age| format!(" {age} ago")).unwrap_or_default();
    let code = ended["exitCode"].as_i64().unwrap_or(0);
    let signal = ended["signal"].as_i64().filter(|signal| *signal != 0);
    let signal = signal
        .map(|signal| format!(", signal {signal}"))
        .unwrap_or_default();
    let tone = if code == 0 { Tone::Good } else { Tone::Bad };
    (
        format!("ended{age} with code {code}{signal}{}", why(ended)),
        tone,
    )
}
