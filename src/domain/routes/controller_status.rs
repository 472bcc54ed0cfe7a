//! Describes what controllers report: which of them accepted a Gateway or a route, which did not
//! and why, and since when there is no answer at all.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use crate::{
    api::{
        GatewaySeen, RouteStatus,
        gateway_api::{
            Gateway, GatewayClass, HttpRoute, HttpRouteSpec, ParentRef, PathMatch, RouteMatch,
            RouteParentStatus,
        },
    },
    domain::text::Clean,
};

/// Time that a controller has to answer before its silence is a problem.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);
const MAX_MESSAGE_CHARS: usize = 300;

/// Class, controller and features of a Gateway.
pub fn observe_gateway(gateway: &Gateway, class: Option<&GatewayClass>) -> GatewaySeen {
    let clean = |text: &str| Clean::bounded(text, 100).to_string();
    let features = class.and_then(|c| c.status.as_ref()?.supported_features.as_ref());
    let of_routes = |name: &&str| name.starts_with("HTTPRoute");
    GatewaySeen {
        class: clean(&gateway.spec.gateway_class_name),
        controller: class.map(|c| clean(&c.spec.controller_name)),
        features: features.map(|all| {
            all.iter()
                .map(|f| f.name.as_str())
                .filter(of_routes)
                .map(clean)
                .collect()
        }),
    }
}

/// Problems of a Gateway. With `is_news`, which means that it was only just requested, a missing
/// answer is not a problem.
pub fn describe_gateway(
    name: &str,
    gateway: Option<&Gateway>,
    class: Option<&GatewayClass>,
    is_news: bool,
) -> Vec<String> {
    let Some(gateway) = gateway else {
        return vec![format!("there is no Gateway {name}")];
    };
    let asked = Clean::bounded(&gateway.spec.gateway_class_name, 100);
    let Some(class) = class else {
        return vec![format!("Gateway {name}: there is no GatewayClass {asked}")];
    };
    let told = |conditions: &[Condition], what: &str| {
        let bad = conditions
            .iter()
            .find(|c| matches!(&*c.type_, "Accepted" | "Programmed") && c.status == "False")?;
        Some(format!("{what}: {}", describe_condition(bad)))
    };
    let of_class = class
        .status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default();
    let of_gateway = gateway
        .status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default();
    // Conditions that no controller has written have the defaults of the definition: status
    // Unknown, reason Pending.
    let answered = |c: &&Condition| c.type_ == "Accepted" && c.status != "Unknown";
    if !of_class.iter().chain(of_gateway).any(|c| answered(&c)) && !is_news {
        let controller = Clean::bounded(&class.spec.controller_name, 100);
        let since = format_since(last_spec_change(&gateway.metadata));
        return vec![format!(
            "Gateway {name}: {controller} of class {asked} has not answered{since}: does it run?"
        )];
    }
    let mut words = Vec::from_iter(told(of_class, &format!("GatewayClass {asked}")));
    words.extend(told(of_gateway, &format!("Gateway {name}")));
    let fine = words.is_empty();
    let listeners = gateway.status.iter().flat_map(|s| &s.listeners);
    for listener in listeners.filter(|_| fine).take(4) {
        let of = format!(
            "Gateway {name}, listener {}",
            Clean::bounded(&listener.name, 60)
        );
        let bad = listener.conditions.iter().find(|c| {
            matches!(&*c.type_, "Accepted" | "Programmed" | "ResolvedRefs") && c.status == "False"
                || c.type_ == "Conflicted" && c.status == "True"
        });
        words.extend(bad.map(|c| format!("{of}: {}", describe_condition(c))));
    }
    words
}

/// Status of a route from what its controllers report; the worst report counts. `coming` are Apps
/// of the group of which no version was ever deployed: their missing Services are not a fault of
/// the route. `is_news` says that the route was written only just now.
pub fn route_status(route: &HttpRoute, coming: &[&str], is_news: bool) -> RouteStatus {
    let parents = route.status.iter().flat_map(|s| &s.parents);
    let wanted = |p: &&RouteParentStatus| {
        let same = |r: &ParentRef| {
            r.name == p.parent_ref.name && r.is_gateway() == p.parent_ref.is_gateway()
        };
        route.spec.parent_refs.iter().any(same)
    };
    let told: Vec<_> = parents.filter(wanted).collect();
    let verdicts = || {
        let all = told.iter().flat_map(|p| &p.conditions);
        all.filter(|c| {
            matches!(&*c.type_, "Accepted" | "ResolvedRefs" | "PartiallyInvalid")
                && c.status != "Unknown"
        })
    };
    let bad = verdicts().find(|c| (c.status == "False") != (c.type_ == "PartiallyInvalid"));
    let waits = !coming.is_empty()
        && bad.is_some_and(|c| matches!(&*c.reason, "BackendNotFound" | "NoMatchingParent"));
    let newest = verdicts()
        .filter(|c| c.type_ == "Accepted")
        .map(|c| c.last_transition_time.0)
        .max();
    let late = verdicts().any(|c| {
        c.observed_generation.is_some() && c.observed_generation < route.metadata.generation
    });
    let by = told
        .first()
        .map(|p| Clean::bounded(&p.controller_name, 100).to_string());
    let asked_at = last_spec_change(&route.metadata);
    let (message, since) = match (bad, newest) {
        _ if waits => (
            Some(format!(
                "waits for the first version of {}",
                coming.join(", ")
            )),
            asked_at,
        ),
        (Some(bad), _) => (
            Some(describe_condition(bad)),
            Some(bad.last_transition_time.0),
        ),
        (None, None) if is_news => (None, asked_at),
        (None, None) => (
            Some(describe_silence(route.spec.parent_refs.first(), asked_at)),
            asked_at,
        ),
        (None, Some(_)) if late && !is_news => {
            let who = by.as_deref().unwrap_or_default();
            let since = format_since(asked_at);
            let words = format!("{who} has not answered since the last change{since}");
            (Some(words), asked_at)
        }
        (None, newest) => (None, newest),
    };
    RouteStatus {
        name: route.metadata.name.clone().unwrap_or_default(),
        accepted: newest
            .map(|_| bad.is_none())
            .or(bad.map(|_| false))
            .filter(|_| !waits),
        by,
        message,
        since: since.map(|at| to_second(at).into()),
    }
}

fn describe_silence(parent: Option<&ParentRef>, asked_at: Option<Timestamp>) -> String {
    let asked = parent.map_or_else(String::new, |p| {
        format!("{} {}", p.kind.as_deref().unwrap_or("Gateway"), p.name)
    });
    let hint = if parent.is_some_and(|p| p.is_service()) {
        "is there a mesh that takes routes of Services? Else use mode gateway"
    } else {
        "does its controller run?"
    };
    format!(
        "nobody has answered for {asked}{}: {hint}",
        format_since(asked_at)
    )
}

/// Whether two specs are equal once a server has filled in the defaults of the definition.
pub fn is_same_spec(a: &HttpRouteSpec, b: &HttpRouteSpec) -> bool {
    fill_defaults(a) == fill_defaults(b)
}

fn fill_defaults(spec: &HttpRouteSpec) -> HttpRouteSpec {
    let mut spec = spec.clone();
    for rule in &mut spec.rules {
        if rule.matches.is_empty() {
            rule.matches.push(RouteMatch::default());
        }
        for m in &mut rule.matches {
            m.path.get_or_insert_with(|| PathMatch {
                kind: "PathPrefix".into(),
                value: "/".into(),
            });
        }
        for backend in &mut rule.backend_refs {
            backend.group.get_or_insert_default();
            backend.kind.get_or_insert_with(|| "Service".into());
            backend.weight.get_or_insert(1);
        }
    }
    spec
}

fn describe_condition(condition: &Condition) -> String {
    let words = match condition.message.trim() {
        "" => condition.reason.clone(),
        message => format!("{}: {message}", condition.reason),
    };
    format!(
        "{} is {} ({})",
        condition.type_,
        condition.status.to_lowercase(),
        Clean::bounded(&words, MAX_MESSAGE_CHARS)
    )
}

/// When a field manager last wrote the spec, or else when the object was created.
pub fn last_spec_change(meta: &ObjectMeta) -> Option<Timestamp> {
    let spec = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|e| e.subresource.is_none());
    let time = |t: &Option<Time>| t.as_ref().map(|t| t.0);
    spec.filter_map(|e| time(&e.time))
        .max()
        .or_else(|| time(&meta.creation_timestamp))
}

fn format_since(at: Option<Timestamp>) -> String {
    at.map(|at| format!(" since {}", to_second(at)))
        .unwrap_or_default()
}

/// The second that a time is in.
fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn at(second: i64) -> String {
        Timestamp::from_second(second).unwrap().to_string()
    }

    /// A route changed at 100 s, with the conditions that its controller reports, if any.
    fn route(conditions: &Value) -> HttpRoute {
        let parent = json!({"name": "edge"});
        let told = json!([{"parentRef": parent, "controllerName": "example.com/gw", "conditions": conditions}]);
        from_value(json!({
            "metadata": {"name": "r", "generation": 2, "creationTimestamp": at(100)},
            "spec": {"parentRefs": [parent]},
            "status": {"parents": if conditions.is_null() { json!([]) } else { told }},
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": generation,
            "lastTransitionTime": at(101)})
    }

    fn said_of(conditions: &Value, coming: &[&str], is_news: bool) -> (Option<bool>, String) {
        let told = route_status(&route(conditions), coming, is_news);
        (told.accepted, told.message.unwrap_or_default())
    }

    #[test]
    fn a_silent_controller_is_no_news_at_first_and_then_told_with_since_when() {
        assert_eq!(said_of(&Value::Null, &[], true), (None, String::new()));
        let (accepted, words) = said_of(&Value::Null, &[], false);
        assert_eq!(accepted, None);
        assert!(
            words.contains("nobody has answered for Gateway edge since 1970-01-01T00:01:40Z"),
            "{words}"
        );
        // It answered, but not to the last change.
        let old = json!([condition("Accepted", "True", "Accepted", 1)]);
        let (accepted, words) = said_of(&old, &[], false);
        assert!(
            accepted == Some(true)
                && words.contains("example.com/gw has not answered since the last change"),
            "{words}"
        );
        assert_eq!(
            said_of(
                &json!([condition("Accepted", "True", "Accepted", 2)]),
                &[],
                false
            ),
            (Some(true), String::new())
        );
    }

    #[test]
    fn the_worst_verdict_counts_unless_what_is_missing_is_still_to_come() {
        let taken = condition("Accepted", "True", "Accepted", 2);
        let missing = json!([
            taken,
            condition("ResolvedRefs", "False", "BackendNotFound", 2)
        ]);
        assert_eq!(
            said_of(&missing, &[], false),
            (
                Some(false),
                "ResolvedRefs is false (BackendNotFound)".into()
            )
        );
        assert_eq!(
            said_of(&missing, &["a", "b"], false),
            (None, "waits for the first version of a, b".into())
        );
        // What is wrong with the route itself is always reported.
        let invalid = json!([taken, condition("ResolvedRefs", "False", "InvalidKind", 2)]);
        assert_eq!(
            said_of(&invalid, &["a"], false),
            (Some(false), "ResolvedRefs is false (InvalidKind)".into())
        );
        let partly = json!([
            taken,
            condition("PartiallyInvalid", "True", "UnsupportedValue", 2)
        ]);
        assert_eq!(said_of(&partly, &[], false).0, Some(false));
    }
}
