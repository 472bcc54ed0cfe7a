//! Describes an object for a person: what it is, whose it is, how it is, and what happened to it.
//! What the server says is read leniently: a field that is not there is left out.

use jiff::Timestamp;
use serde_json::Value;

use super::{text::Clean, text::format_age};
use kube_yaml::to_yaml;

mod containers;

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Heading,
    /// A fact.
    Plain,
    /// As it should be.
    Good,
    /// Somebody should look.
    Warn,
    /// A failure.
    Bad,
}

/// One line: a label and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedLine {
    /// Depth in the outline.
    pub indent: usize,
    /// What the line is about; empty for free text.
    pub label: Clean,
    /// What it says.
    pub text: Clean,
    /// How it is meant.
    pub tone: Tone,
}

/// An event about the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Time of the last occurrence.
    pub time: Option<Timestamp>,
    /// Whether it is a warning.
    pub warning: bool,
    /// Machine-readable reason.
    pub reason: String,
    /// Message.
    pub message: String,
    /// Number of occurrences.
    pub count: i32,
}

/// Collects lines.
#[derive(Default)]
struct Outline {
    lines: Vec<DescribedLine>,
    now: Timestamp,
}

impl Outline {
    fn heading(&mut self, text: &str) {
        self.add(0, "", text, Tone::Heading);
    }

    fn fact(&mut self, label: &str, text: impl AsRef<str>) {
        self.add(1, label, text.as_ref(), Tone::Plain);
    }

    /// A fact that is left out when there is nothing to say.
    fn fact_if(&mut self, label: &str, text: impl AsRef<str>) {
        if !text.as_ref().is_empty() {
            self.fact(label, text);
        }
    }

    fn add(&mut self, indent: usize, label: &str, text: &str, tone: Tone) {
        self.lines.push(DescribedLine {
            indent,
            label: Clean::from_untrusted(label),
            text: Clean::from_untrusted(text),
            tone,
        });
    }

    fn age(&self, time: &Value) -> Option<String> {
        let time: Timestamp = time.as_str()?.parse().ok()?;
        Some(format_age(self.now, time))
    }
}

/// Describes an object and its events.
pub fn describe_object(
    object: &Value,
    events: &[ObjectEvent],
    now: Timestamp,
) -> Vec<DescribedLine> {
    let mut out = Outline {
        now,
        ..Outline::default()
    };
    let kind = object["kind"].as_str().unwrap_or("Object");
    add_identity(&mut out, kind, object);
    match kind {
        "Pod" => {
            add_pod(&mut out, object);
            containers::add_containers(&mut out, &object["spec"], &object["status"]);
        }
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" | "Job" => {
            add_workload(&mut out, object);
            containers::add_containers(&mut out, &object["spec"]["template"]["spec"], &Value::Null);
        }
        "Service" => add_service(&mut out, object),
        _ => {
            add_yaml(&mut out, "Spec", &object["spec"]);
            let mut status = object["status"].clone();
            if let Some(fields) = status.as_object_mut() {
                fields.shift_remove("conditions");
            }
            add_yaml(&mut out, "Status", &status);
        }
    }
    add_conditions(&mut out, &object["status"]["conditions"]);
    add_events(&mut out, events);
    out.lines
}

fn add_identity(out: &mut Outline, kind: &str, object: &Value) {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    out.heading(&format!("{kind} {name}"));
    out.fact_if("namespace", meta["namespace"].as_str().unwrap_or_default());
    out.fact_if(
        "age",
        out.age(&meta["creationTimestamp"]).unwrap_or_default(),
    );
    if let Some(since) = out.age(&meta["deletionTimestamp"]) {
        out.add(
            1,
            "deleted",
            &format!("{since} ago, and not gone yet"),
            Tone::Warn,
        );
    }
    for owner in list(&meta["ownerReferences"]) {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        out.fact("owner", format!("{} {}", text("kind"), text("name")));
    }
    out.fact_if("labels", join_map(&meta["labels"]));
}

fn add_pod(out: &mut Outline, pod: &Value) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = status["phase"].as_str().unwrap_or_default();
    let tone = match phase {
        "Running" | "Succeeded" => Tone::Good,
        "Failed" => Tone::Bad,
        _ => Tone::Warn,
    };
    let why = [&status["reason"], &status["message"]];
    let why: Vec<&str> = why.iter().filter_map(|v| v.as_str()).collect();
    let text = [&[phase], why.as_slice()].concat().join(": ");
    out.add(1, "phase", &text, tone);
    out.fact_if("address", status["podIP"].as_str().unwrap_or_default());
    out.fact_if("node", spec["nodeName"].as_str().unwrap_or_default());
    out.fact_if(
        "account",
        spec["serviceAccountName"].as_str().unwrap_or_default(),
    );
    out.fact_if("class", status["qosClass"].as_str().unwrap_or_default());
}

fn add_workload(out: &mut Outline, object: &Value) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    if !spec["replicas"].is_null() {
        let wanted = number(&spec["replicas"]);
        let ready = number(&status["readyReplicas"]);
        let tone = if ready >= wanted {
            Tone::Good
        } else {
            Tone::Warn
        };
        let text = format!(
            "{wanted} wanted, {} there, {} updated, {ready} ready, {} available",
            number(&status["replicas"]),
            number(&status["updatedReplicas"]),
            number(&status["availableReplicas"])
        );
        out.add(1, "pods", &text, tone);
    }
    let strategy = ["strategy", "updateStrategy"].map(|field| &spec[field]);
    for strategy in strategy.iter().filter(|s| !s.is_null()) {
        let kind = strategy["type"].as_str().unwrap_or_default();
        let rest = join_map(&strategy["rollingUpdate"]);
        out.fact_if("strategy", format!("{kind} {rest}").trim());
    }
    if spec["paused"] == true {
        out.add(1, "paused", "yes", Tone::Warn);
    }
    out.fact_if("selector", join_map(&spec["selector"]["matchLabels"]));
}

fn add_service(out: &mut Outline, service: &Value) {
    let spec = &service["spec"];
    out.fact_if("type", spec["type"].as_str().unwrap_or_default());
    let addresses: Vec<&str> = list(&spec["clusterIPs"])
        .filter_map(Value::as_str)
        .collect();
    out.fact_if("address", addresses.join(", "));
    for port in list(&spec["ports"]) {
        let name = port["name"]
            .as_str()
            .map(|n| format!("{n} "))
            .unwrap_or_default();
        let node = port["nodePort"]
            .as_u64()
            .map(|n| format!(", node port {n}"));
        out.fact(
            "port",
            format!(
                "{name}{}/{} to {}{}",
                show(&port["port"]),
                port["protocol"].as_str().unwrap_or("TCP"),
                show(&port["targetPort"]),
                node.unwrap_or_default()
            ),
        );
    }
    out.fact_if("selector", join_map(&spec["selector"]));
    for place in list(&service["status"]["loadBalancer"]["ingress"]) {
        let place = place["ip"].as_str().or(place["hostname"].as_str());
        out.fact_if("balancer", place.unwrap_or_default());
    }
}

fn add_conditions(out: &mut Outline, conditions: &Value) {
    if list(conditions).next().is_none() {
        return;
    }
    out.heading("Conditions");
    for condition in list(conditions) {
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        // Of these a True is the trouble.
        let bad_if_true = ["Failure", "Pressure", "Failed", "Disruption", "Conflicted"];
        let turned = bad_if_true.iter().any(|word| text("type").contains(word));
        let tone = match (text("status"), turned) {
            ("True", false) | ("False", true) => Tone::Good,
            ("Unknown", _) => Tone::Plain,
            _ => Tone::Warn,
        };
        let age = out.age(&condition["lastTransitionTime"]);
        let age = age.map(|age| format!(" for {age}")).unwrap_or_default();
        let why: Vec<&str> = [text("reason"), text("message")]
            .into_iter()
            .filter(|t| !t.is_empty())
            .collect();
        let why = match why.join(": ") {
            why if why.is_empty() => why,
            why => format!(" ({why})"),
        };
        out.add(
            1,
            text("type"),
            &format!("{}{age}{why}", text("status")),
            tone,
        );
    }
}

fn add_events(out: &mut Outline, events: &[ObjectEvent]) {
    out.heading("Events");
    if events.is_empty() {
        out.add(1, "", "none are kept", Tone::Plain);
    }
    // The newest first.
    for event in events.iter().rev() {
        let tone = if event.warning {
            Tone::Warn
        } else {
            Tone::Plain
        };
        let age = event
            .time
            .map(|t| format!("{} ago", format_age(out.now, t)));
        let count = if event.count > 1 {
            format!(" (×{})", event.count)
        } else {
            String::new()
        };
        let text = format!("{}: {}{count}", event.reason, event.message);
        out.add(1, &age.unwrap_or_default(), &text, tone);
    }
}

fn add_yaml(out: &mut Outline, title: &str, value: &Value) {
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    out.heading(title);
    for line in to_yaml(value).lines() {
        let text = line.trim_start();
        out.add(1 + (line.len() - text.len()) / 2, "", text, Tone::Plain);
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `a=b, c=d`.
fn join_map(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", show(v))).collect();
    pairs.join(", ")
}

/// A scalar without quotes, anything else as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
