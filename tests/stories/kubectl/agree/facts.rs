//! What the cockpit shows of each kind, and where kubectl has it.

use graylane::api::NamespaceRef;
use graylane::domain::world::{Event, Pod, Route, Workload, World};
use serde::Serialize;
use serde_json::{Value, json};

/// What it is called, where it stands in `kubectl get -o json`, and what the cockpit makes of it.
type Fact<R> = (&'static str, &'static str, fn(&R) -> Value);

const PODS: &[Fact<Pod>] = &[
    ("app", "metadata/labels/graylane.dev~1app", |p| json!(p.app)),
    (
        "environment",
        "metadata/labels/graylane.dev~1environment",
        |p| json!(p.environment),
    ),
    ("lane's tag", "metadata/labels/alicloud.service.tag", |p| {
        json!(p.tag)
    }),
    (
        "ReplicaSet",
        "metadata/ownerReferences/kind=ReplicaSet/name",
        |p| json!(p.owner),
    ),
    ("version", "metadata/labels/pod-template-hash", |p| {
        json!(p.hash)
    }),
    ("address", "status/podIP", |p| json!(p.address)),
    ("serves", "status/conditions/type=Ready/status", |p| {
        json!(if p.ready { "True" } else { "False" })
    }),
    ("is going", "metadata/deletionTimestamp?", |p| {
        json!(p.terminating)
    }),
    ("restarts", "status/containerStatuses/0/restartCount", |p| {
        json!(p.restarts)
    }),
    ("images", "spec/containers/*/image", |p| {
        json!(texts(&p.images))
    }),
    ("containers", "spec/containers/*/name", |p| {
        json!(texts(&p.containers))
    }),
    ("age", "metadata/creationTimestamp", |p| {
        json!(p.born.map(|t| t.to_string()))
    }),
];

const DEPLOYMENTS: &[Fact<Workload>] = &[
    ("app", "metadata/labels/graylane.dev~1app", |w| json!(w.app)),
    (
        "environment",
        "metadata/labels/graylane.dev~1environment",
        |w| json!(w.environment),
    ),
    ("desired", "spec/replicas", |w| json!(w.replicas)),
    ("ready", "status/readyReplicas#", |w| json!(w.ready)),
    ("of the newest template", "status/updatedReplicas#", |w| {
        json!(w.updated)
    }),
    ("available", "status/availableReplicas#", |w| {
        json!(w.available)
    }),
    ("images", "spec/template/spec/containers/*/image", |w| {
        json!(texts(&w.images))
    }),
    ("paused", "spec/paused?", |w| json!(w.paused)),
    (
        "latched",
        "metadata/annotations/graylane.dev~1latch?",
        |w| json!(w.latched),
    ),
];

const ROUTES: &[Fact<Route>] = &[
    (
        "lane group",
        "metadata/labels/graylane.dev~1lane-group",
        |r| json!(r.group),
    ),
    (
        "accepted",
        "status/parents/0/conditions/type=Accepted/status",
        |r| json!(r.accepted.map(|yes| if yes { "True" } else { "False" })),
    ),
];

const EVENTS: &[Fact<Event>] = &[
    ("type", "type", |e| {
        json!(if e.warning { "Warning" } else { "Normal" })
    }),
    ("kind", "involvedObject/kind", |e| json!(&*e.kind)),
    ("object", "involvedObject/name", |e| json!(e.object.name)),
    ("reason", "reason", |e| json!(&*e.reason)),
    ("message", "message", |e| json!(&*e.message)),
    ("count", "count", |e| json!(e.count)),
    ("time", "lastTimestamp", |e| {
        json!(e.time.map(|t| t.to_string()))
    }),
];

fn texts(all: &[graylane::domain::text::Clean]) -> Vec<&str> {
    all.iter().map(|t| &**t).collect()
}

/// What stands at a path: `*` is every item, `key=value` the first item that has it, `name?` whether there is
/// anything, `name#` a number.
pub(super) fn at(object: &Value, path: &str) -> Value {
    let (path, mark) = match path.strip_suffix(['?', '#']) {
        Some(bare) => (bare, path.chars().last()),
        None => (path, None),
    };
    let mut at = object.clone();
    let mut steps = path.split('/');
    while let Some(step) = steps.next() {
        let list = at.as_array();
        at = match (step.split_once('='), step.parse::<usize>()) {
            _ if step == "*" => {
                let rest: Vec<&str> = steps.by_ref().collect();
                list.into_iter()
                    .flatten()
                    .map(|item| self::at(item, &rest.join("/")))
                    .collect()
            }
            (Some((key, value)), _) => list
                .and_then(|l| l.iter().find(|i| i[key] == value))
                .cloned()
                .unwrap_or_default(),
            (None, Ok(n)) if list.is_some() => at[n].clone(),
            (None, _) => at[step.replace("~1", "/")].clone(),
        };
    }
    match mark {
        Some('?') => json!(!(at.is_null() || at == false)),
        Some(_) => json!(at.as_u64().unwrap_or_default()),
        None => at,
    }
}

pub(super) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |o| o["kind"] == kind)
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Everything in which they differ.
pub(super) fn differ(objects: &[Value], world: &World) -> Vec<String> {
    let mut out = vec![];
    let mine = |kind: &'static str| {
        of_kind(objects, kind).filter(|o| o["metadata"]["labels"]["graylane.dev/app"].is_string())
    };
    let demo = |namespace: &NamespaceRef| *namespace == "demo".into();
    let rows = world
        .pods
        .values()
        .filter(|p| demo(&p.key.namespace))
        .map(|p| (p.key.name.as_str(), &**p));
    compare("pod", mine("Pod"), rows.collect(), PODS, &mut out);
    let rows = world
        .deployments
        .values()
        .filter(|w| demo(&w.key.namespace))
        .map(|w| (w.key.name.as_str(), w));
    compare(
        "deployment",
        mine("Deployment"),
        rows.collect(),
        DEPLOYMENTS,
        &mut out,
    );
    let routes = of_kind(objects, "HTTPRoute")
        .filter(|o| o["metadata"]["labels"]["graylane.dev/lane-group"].is_string());
    let rows = world
        .routes
        .values()
        .map(|r| (r.key.name.as_str(), r))
        .collect();
    compare("httproute", routes, rows, ROUTES, &mut out);

    // An event has no name in the world: all of them, as a bag.
    let said = of_kind(objects, "Event").map(|o| {
        json!(
            EVENTS
                .iter()
                .map(|(_, path, _)| at(o, path))
                .collect::<Vec<_>>()
        )
    });
    let own = world.events.iter().filter(|e| demo(&e.object.namespace));
    let own = own.map(|e| {
        json!(
            EVENTS
                .iter()
                .map(|(_, _, fact)| fact(e))
                .collect::<Vec<_>>()
        )
    });
    let sorted = |all: &mut Vec<String>| all.sort_unstable();
    let (mut said, mut own): (Vec<String>, Vec<String>) = (
        said.map(|v| v.to_string()).collect(),
        own.map(|v| v.to_string()).collect(),
    );
    sorted(&mut said);
    sorted(&mut own);
    out.extend(
        said.iter()
            .filter(|e| !own.contains(e))
            .map(|e| format!("kubectl alone has the event {e}")),
    );
    out.extend(
        own.iter()
            .filter(|e| !said.contains(e))
            .map(|e| format!("the cockpit alone has the event {e}")),
    );

    whole(objects, "App", &*world.apps, &mut out);
    whole(objects, "Release", &*world.releases, &mut out);
    whole(objects, "Approval", &*world.approvals, &mut out);
    whole(objects, "LaneGroup", &*world.groups, &mut out);
    whole(objects, "Lane", &*world.lanes, &mut out);

    let lease = of_kind(objects, "Lease")
        .find(|o| name(o) == "graylane-engine")
        .unwrap_or(&Value::Null);
    let holder = world.engine.as_ref().map(|e| e.holder.to_string());
    if lease["spec"]["holderIdentity"] != json!(holder) {
        out.push(format!(
            "engine: kubectl {}, cockpit {holder:?}",
            lease["spec"]["holderIdentity"]
        ));
    }
    out
}

fn compare<'a, R>(
    kind: &str,
    said: impl Iterator<Item = &'a Value>,
    mut rows: Vec<(&str, &R)>,
    facts: &[Fact<R>],
    out: &mut Vec<String>,
) {
    for object in said {
        let name = name(object);
        let Some(place) = rows.iter().position(|(n, _)| *n == name) else {
            out.push(format!("kubectl alone has {kind} {name}"));
            continue;
        };
        let (_, row) = rows.swap_remove(place);
        for (what, path, fact) in facts {
            let (kubectl, cockpit) = (at(object, path), fact(row));
            if kubectl != cockpit {
                out.push(format!(
                    "{kind} {name}, {what}: kubectl {kubectl}, cockpit {cockpit}"
                ));
            }
        }
    }
    out.extend(
        rows.into_iter()
            .map(|(name, _)| format!("the cockpit alone has {kind} {name}")),
    );
}

/// Our own kinds are held whole: everything that kubectl has.
fn whole<T: Serialize>(
    objects: &[Value],
    kind: &str,
    rows: &std::collections::BTreeMap<String, std::sync::Arc<T>>,
    out: &mut Vec<String>,
) {
    let said: Vec<&Value> = of_kind(objects, kind).collect();
    out.extend(
        rows.keys()
            .filter(|n| said.iter().all(|o| name(o) != **n))
            .map(|n| format!("the cockpit alone has {kind} {n}")),
    );
    for object in said {
        let Some(row) = rows.get(name(object)) else {
            out.push(format!("kubectl alone has {kind} {}", name(object)));
            continue;
        };
        let own = serde_json::to_value(&**row).unwrap();
        for part in ["spec", "status"] {
            within(
                &object[part],
                &own[part],
                &format!("{kind} {} {part}", name(object)),
                out,
            );
        }
    }
}

fn within(said: &Value, own: &Value, place: &str, out: &mut Vec<String>) {
    match (said, own) {
        (Value::Object(fields), _) => {
            fields
                .iter()
                .for_each(|(key, value)| within(value, &own[key], &format!("{place}.{key}"), out));
        }
        (Value::Array(items), Value::Array(rows)) if items.len() == rows.len() => {
            items
                .iter()
                .zip(rows)
                .enumerate()
                .for_each(|(i, (a, b))| within(a, b, &format!("{place}[{i}]"), out));
        }
        // What stands there for nothing may be left out.
        _ if own.is_null() && (said == &json!([]) || said == false || said == "" || said == 0) => {}
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ if said == own => {}
        _ => out.push(format!("{place}: kubectl {said}, cockpit {own}")),
    }
}
