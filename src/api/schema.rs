//! Constraints that the types cannot express: bounds, patterns and rules (CEL), added to the
//! generated schemas, so that an API server refuses what the cockpit would refuse.
//!
//! A real server refuses rules whose cost it cannot bound: every list or text that a rule reads has
//! a `maxItems` or a `maxLength`. The bounds are far above what anybody writes by hand.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::MAX_RETRIES;

/// Path in a schema and the keywords to add there. `[]` is an item of a list, `{}` a value of a
/// map.
type Constraint = (&'static str, Value);

/// Value of a label, not empty.
const LABEL: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Name of a namespace.
const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Name of a namespace in an AppTemplate, where it may contain `${APP}`.
const NAMESPACE_IN_TEMPLATE: &str =
    "^([a-z0-9]|[$][{]APP[}])(([-a-z0-9]|[$][{]APP[}])*([a-z0-9]|[$][{]APP[}]))?$";
/// Name of an object.
const NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// Name of a stage or task: letters and digits of any script, with separators. No character is
/// special to a shell (except the blank), changes the reading direction or is invisible.
const WORKFLOW_NAME: &str = r"^[\p{L}\p{N}]([-_. /\p{L}\p{M}\p{N}]*[\p{L}\p{M}\p{N}])?$";
/// Image reference, or its repository.
const REFERENCE: &str = "^([A-Za-z0-9][-A-Za-z0-9._/:@+]*)?$";
/// Tag of an image to build, possibly with `${DATETIME}`.
const TAG: &str = "^([-A-Za-z0-9._]|[$][{][A-Z]+[}])+$";
/// A line without control characters and invisible characters.
const PRINTABLE: &str = r"^[^\p{C}\p{Zl}\p{Zp}]+$";
/// Text without control characters and invisible characters, except line breaks and tabs.
const PROSE: &str = r"^([^\p{C}]|[\n\t])*$";
/// Maximum of every timeout in seconds: a year. Sums stay far from an overflow.
const MAX_SECONDS: u32 = 31_536_000;
/// Service and port: `NAMESPACE/NAME:PORT`.
const SERVICE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?:[0-9]{1,5}$";
/// Rule for a hop source: exactly one kind.
const ONE_SOURCE_RULE: &str = "[has(self.accessLog), has(self.tempo), has(self.jaeger), has(self.zipkin), \
                          has(self.skyWalking)].filter(x, x).size() == 1";
/// Rule for a trace store: exactly one address.
const ONE_ADDRESS_RULE: &str = "has(self.url) != has(self.service)";
/// Name of a header (RFC 9110, token).
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Adds the constraints of this module to a generated definition.
///
/// # Panics
///
/// If a constraint names a path that the schema does not have. A test covers all of them.
pub(super) fn add_constraints(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = definition.spec.names.kind.clone();
    let mut value = serde_json::to_value(definition).expect("a definition is JSON");
    let schema = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for (path, wanted) in constraints_for_kind(&kind) {
        let place = find_schema(schema, &path).unwrap_or_else(|| panic!("{kind} has no {path}"));
        for (key, value) in wanted.as_object().into_iter().flatten() {
            place.insert(key.clone(), value.clone());
        }
    }
    serde_json::from_value(value).expect("a definition stays one")
}

fn find_schema<'a>(
    schema: &'a mut Value,
    path: &str,
) -> Option<&'a mut serde_json::Map<String, Value>> {
    let mut at = schema;
    for step in path.split('.').filter(|s| !s.is_empty()) {
        let name = step.trim_end_matches(['[', ']', '{', '}']);
        at = at.get_mut("properties")?.get_mut(name)?;
        match &step[name.len()..] {
            "" => {}
            "[]" => at = at.get_mut("items")?,
            "{}" => at = at.get_mut("additionalProperties")?,
            _ => return None,
        }
    }
    at.as_object_mut()
}

fn constraints_for_kind(kind: &str) -> Vec<(String, Value)> {
    let of = |prefix: &str, list: Vec<Constraint>| -> Vec<(String, Value)> {
        let path = |p: &str| {
            if p.is_empty() {
                prefix.to_owned()
            } else {
                format!("{prefix}.{p}")
            }
        };
        list.into_iter()
            .map(|(p, value)| (path(p.trim_matches('.')), value))
            .collect()
    };
    match kind {
        "App" => [
            of("", vec![("", short_name_rule())]),
            of(
                "spec",
                [app_constraints(NAMESPACE), app_name_constraints()].concat(),
            ),
        ]
        .concat(),
        "AppTemplate" => [
            of("spec", vec![("description", max_length(4096))]),
            of("spec.app", app_constraints(NAMESPACE_IN_TEMPLATE)),
        ]
        .concat(),
        "VariableGroup" => of("spec", variable_group_constraints()),
        "Release" => [
            of("spec", release_constraints()),
            of("spec", control_constraints()),
        ]
        .concat(),
        "Approval" => [
            of("", vec![("", immutable_spec_rule())]),
            of("spec", approval_constraints()),
        ]
        .concat(),
        "LaneGroup" => [
            of("", vec![("", short_name_rule())]),
            of("spec", lane_group_constraints()),
        ]
        .concat(),
        "Lane" => of("spec", lane_constraints()),
        _ => vec![],
    }
}

fn max_length(most: u32) -> Value {
    json!({"maxLength": most})
}

fn text_pattern(pattern: &str, most: u32) -> Value {
    json!({"pattern": pattern, "minLength": 1, "maxLength": most})
}

fn max_items(most: u32) -> Value {
    json!({"maxItems": most})
}

fn at_most(most: u32) -> Value {
    json!({"minimum": 0, "maximum": most})
}

fn cel_rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

fn unique_by_field(most: u32, by: &str, message: &str) -> Value {
    let unique = format!("self.all(x, self.exists_one(y, y.{by} == x.{by}))");
    json!({"maxItems": most, "x-kubernetes-validations": [cel_rule(&unique, message)]})
}

fn distinct_items(most: u32, message: &str) -> Value {
    let distinct = "self.all(x, self.exists_one(y, y == x))";
    json!({"maxItems": most, "x-kubernetes-validations": [cel_rule(distinct, message)]})
}

/// Apps and LaneGroups use their names as label values.
fn short_name_rule() -> Value {
    let message = "the name becomes a label: up to 63 characters";
    json!({"x-kubernetes-validations": [cel_rule("self.metadata.name.size() <= 63", message)]})
}

fn variable_group_constraints() -> Vec<Constraint> {
    vec![
        ("description", max_length(4096)),
        ("app", text_pattern(NAME, 63)),
    ]
}

fn app_constraints(namespace: &str) -> Vec<Constraint> {
    let one_kind = "[has(self.build), has(self.approval), has(self.deploy), has(self.verify), has(self.proceed), \
                    has(self.cleanUp)].filter(x, x).size() == 1";
    let one_kind_words =
        "a task is exactly one of build, approval, deploy, verify, proceed, cleanUp";
    let counted = "!has(self.mode) || self.mode != 'count' || has(self.count)";
    vec![
        (
            "images",
            few_short_names("the name of an image has up to 63 characters"),
        ),
        ("manifests", max_items(128)),
        (
            "environments",
            unique_by_field(64, "name", "two environments have the same name"),
        ),
        ("environments[].name", text_pattern(LABEL, 63)),
        ("environments[].lane", text_pattern(LABEL, 63)),
        ("environments[].serviceAccountName", text_pattern(NAME, 253)),
        ("environments[].namespace", text_pattern(namespace, 63)),
        (
            "environments[].variableGroups",
            distinct_items(16, "a variable group is named twice"),
        ),
        ("environments[].variableGroups[]", text_pattern(NAME, 253)),
        ("environments[].rollout.batches", max_items(100)),
        (
            "environments[].rollout.timeoutSeconds",
            at_most(MAX_SECONDS),
        ),
        ("environments[].rollout.drainSeconds", at_most(MAX_SECONDS)),
        ("history.limit", json!({"minimum": 0, "maximum": 10000})),
        ("history.ttlSecondsAfterFinished", at_most(10 * MAX_SECONDS)),
        (
            "workflow.stages",
            unique_by_field(32, "name", "two stages have the same name"),
        ),
        (
            "workflow.stages[].name",
            json!({"minLength": 1, "maxLength": 63}),
        ),
        (
            "workflow.stages[].tasks",
            unique_by_field(64, "name", "two tasks of a stage have the same name"),
        ),
        (
            "workflow.stages[].tasks[]",
            json!({"x-kubernetes-validations": [cel_rule(one_kind, one_kind_words)]}),
        ),
        (
            "workflow.stages[].tasks[].name",
            json!({"minLength": 1, "maxLength": 63}),
        ),
        (
            "workflow.stages[].tasks[].approval",
            json!({"x-kubernetes-validations": [cel_rule(counted, "mode count needs a count")]}),
        ),
        (
            "workflow.stages[].tasks[].approval.approvers",
            max_items(64),
        ),
        (
            "workflow.stages[].tasks[].approval.approvers[]",
            json!({"minLength": 1, "maxLength": 1024}),
        ),
        ("workflow.stages[].tasks[].approval.count", at_most(1000)),
        (
            "workflow.stages[].tasks[].approval.timeoutSeconds",
            at_most(MAX_SECONDS),
        ),
        (
            "workflow.stages[].tasks[].build.timeoutSeconds",
            at_most(MAX_SECONDS),
        ),
        (
            "workflow.stages[].tasks[].deploy.environment",
            text_pattern(LABEL, 63),
        ),
        (
            "workflow.stages[].tasks[].cleanUp.environment",
            text_pattern(LABEL, 63),
        ),
        ("workflow.stages[].tasks[].verify.probes", max_items(64)),
        (
            "workflow.stages[].tasks[].verify.probes[].count",
            at_most(1000),
        ),
        (
            "workflow.stages[].tasks[].verify.timeoutSeconds",
            at_most(MAX_SECONDS),
        ),
    ]
}

/// Names in an App. An AppTemplate may have `${APP}` in each of them; the Apps created from it are
/// validated.
fn app_name_constraints() -> Vec<Constraint> {
    vec![
        (
            "images{}.repository",
            json!({"pattern": REFERENCE, "maxLength": 1024}),
        ),
        (
            "images{}.default",
            json!({"pattern": REFERENCE, "maxLength": 1024}),
        ),
        ("environments[].context", text_pattern(PRINTABLE, 1024)),
        ("workflow.stages[].name", text_pattern(WORKFLOW_NAME, 63)),
        (
            "workflow.stages[].tasks[].name",
            text_pattern(WORKFLOW_NAME, 63),
        ),
        (
            "workflow.stages[].tasks[].build.image",
            text_pattern(LABEL, 63),
        ),
        (
            "workflow.stages[].tasks[].build.tag",
            text_pattern(TAG, 128),
        ),
        (
            "workflow.stages[].tasks[].proceed.prompt",
            json!({"pattern": PROSE, "maxLength": 4096}),
        ),
        (
            "workflow.stages[].tasks[].verify.laneGroup",
            text_pattern(NAME, 63),
        ),
        (
            "workflow.stages[].tasks[].verify.probes[].path",
            text_pattern(PRINTABLE, 4096),
        ),
    ]
}

/// For a map. The cost of a rule must not depend on the length of a key, which is unbounded.
fn few_short_names(message: &str) -> Value {
    json!({"maxProperties": 64, "x-kubernetes-validations": [cel_rule("self.all(name, name.size() <= 63)", message)]})
}

/// The request is immutable: only `control` and the comment may change.
fn release_constraints() -> Vec<Constraint> {
    let same = |field: &str| {
        let both = format!("has(self.{field}) == has(oldSelf.{field})");
        cel_rule(
            &format!("{both} && (!has(self.{field}) || self.{field} == oldSelf.{field})"),
            &format!("the {field} of a Release cannot be changed; start another one"),
        )
    };
    let what = "has(self.teardown) != (has(self.stage) && self.stage != '')";
    let mut rules = vec![cel_rule(
        what,
        "a Release is of a stage, or it is a teardown",
    )];
    rules.extend(["app", "stage", "teardown", "images", "requester", "window"].map(same));
    vec![
        ("", json!({"x-kubernetes-validations": rules})),
        ("app", text_pattern(NAME, 63)),
        ("stage", max_length(63)),
        ("teardown.environment", text_pattern(LABEL, 63)),
        ("images", json!({"maxProperties": 64})),
        (
            "images{}",
            json!({"pattern": REFERENCE, "minLength": 1, "maxLength": 1024}),
        ),
        ("comment", max_length(4096)),
        ("requester", max_length(1024)),
        ("window", max_length(253)),
    ]
}

fn control_constraints() -> Vec<Constraint> {
    vec![
        ("control.allow", json!({"maxProperties": 64})),
        ("control.allow{}", at_most(MAX_RETRIES)),
        ("control.retry", json!({"maxProperties": 64})),
        ("control.retry{}", at_most(MAX_RETRIES)),
        ("control.takeOver", json!({"maxProperties": 64})),
        ("control.takeOver{}", at_most(MAX_RETRIES + 1)),
        ("control.skip", max_items(64)),
        ("control.last.by", max_length(1024)),
        ("control.last.comment", max_length(4096)),
    ]
}

fn immutable_spec_rule() -> Value {
    json!({"x-kubernetes-validations": [cel_rule("self.spec == oldSelf.spec", "an Approval cannot be changed")]})
}

fn approval_constraints() -> Vec<Constraint> {
    vec![
        ("release", text_pattern(NAME, 253)),
        ("releaseUid", json!({"minLength": 1, "maxLength": 128})),
        ("task", json!({"minLength": 1, "maxLength": 63})),
        ("attempt", json!({"minimum": 1})),
        ("approver", json!({"minLength": 1, "maxLength": 1024})),
        ("comment", max_length(4096)),
        ("images", json!({"maxProperties": 64})),
        ("images{}", max_length(1024)),
        ("revision", max_length(253)),
        (
            "digest",
            json!({"pattern": "^sha256:[0-9a-f]{64}$", "maxLength": 71}),
        ),
    ]
}

fn lane_group_constraints() -> Vec<Constraint> {
    let twice = "two routes of the entry have the same path";
    let mut all = vec![
        ("entry.gateway", text_pattern(NAME, 253)),
        ("entry.host", max_length(253)),
        ("entry.routes", unique_by_field(64, "path", twice)),
        ("entry.routes[].path", text_pattern("^/", 1024)),
        ("entry.routes[].app", text_pattern(NAME, 63)),
        ("entry.routes[].rewrite", text_pattern("^/", 1024)),
        (
            "apps",
            unique_by_field(128, "app", "an app stands twice in the group"),
        ),
        ("apps[].app", text_pattern(NAME, 63)),
        ("apps[].service", text_pattern(NAMESPACE, 63)),
        ("apps[].port", json!({"minimum": 1, "maximum": 65535})),
        ("propagation.header", text_pattern(TOKEN, 128)),
        ("propagation.baggage", text_pattern(TOKEN, 128)),
        ("hops", max_items(8)),
        (
            "hops[]",
            json!({"x-kubernetes-validations": [cel_rule(ONE_SOURCE_RULE, "exactly one of accessLog, tempo, jaeger, zipkin and skyWalking")]}),
        ),
        ("hops[].accessLog.namespace", text_pattern(NAMESPACE, 63)),
        ("hops[].accessLog.container", text_pattern(NAMESPACE, 63)),
        ("hops[].accessLog.matchLabels", json!({"maxProperties": 16})),
    ];
    let fields = [
        "hops[].accessLog.fields.start",
        "hops[].accessLog.fields.end",
        "hops[].accessLog.fields.duration",
        "hops[].accessLog.fields.trace",
        "hops[].accessLog.fields.span",
        "hops[].accessLog.fields.traceparent",
        "hops[].accessLog.fields.sentTraceparent",
        "hops[].accessLog.fields.requestId",
        "hops[].accessLog.fields.tag",
        "hops[].accessLog.fields.upstream",
        "hops[].accessLog.fields.peer",
        "hops[].accessLog.fields.status",
        "hops[].accessLog.fields.method",
        "hops[].accessLog.fields.path",
        "hops[].accessLog.fields.route",
        "hops[].accessLog.fields.error",
    ];
    all.extend(fields.map(|field| (field, text_pattern(PRINTABLE, 128))));
    all.extend(trace_store_constraints());
    all
}

/// The constraints of each trace store that hops may come from.
fn trace_store_constraints() -> Vec<Constraint> {
    let mut all = vec![];
    let stores = [
        "hops[].tempo",
        "hops[].jaeger",
        "hops[].zipkin",
        "hops[].skyWalking",
    ];
    all.extend(stores.map(|store| {
        (
            store,
            json!({"x-kubernetes-validations": [cel_rule(ONE_ADDRESS_RULE, "exactly one of url and service")]}),
        )
    }));
    let places = [
        "hops[].tempo.url",
        "hops[].jaeger.url",
        "hops[].zipkin.url",
        "hops[].skyWalking.url",
    ];
    all.extend(places.map(|place| (place, text_pattern("^https?://[^\\p{C}\\s]+$", 1024))));
    let places = [
        "hops[].tempo.service",
        "hops[].jaeger.service",
        "hops[].zipkin.service",
        "hops[].skyWalking.service",
    ];
    all.extend(places.map(|place| (place, text_pattern(SERVICE, 160))));
    let places = [
        "hops[].tempo.basePath",
        "hops[].jaeger.basePath",
        "hops[].zipkin.basePath",
        "hops[].skyWalking.basePath",
    ];
    all.extend(places.map(|place| (place, text_pattern("^/[^\\p{C}\\s]*$", 256))));
    let places = [
        "hops[].tempo.gatewayName",
        "hops[].jaeger.gatewayName",
        "hops[].zipkin.gatewayName",
        "hops[].skyWalking.gatewayName",
    ];
    all.extend(places.map(|place| (place, text_pattern(PRINTABLE, 256))));
    let places = [
        "hops[].tempo.tagAttribute",
        "hops[].jaeger.tagAttribute",
        "hops[].zipkin.tagAttribute",
        "hops[].skyWalking.tagAttribute",
    ];
    all.extend(places.map(|place| (place, text_pattern(PRINTABLE, 256))));
    all
}

fn lane_constraints() -> Vec<Constraint> {
    let beside = "!has(self.share) || !has(self.match) || ((!has(self.match.all) || self.match.all.size() == 0) && \
                  (!has(self.match.any) || self.match.any.size() == 0))";
    let beside_words = "a share replaces conditions and cannot be combined with them";
    let mut all = vec![
        (
            "",
            json!({"x-kubernetes-validations": [cel_rule(beside, beside_words)]}),
        ),
        ("group", text_pattern(NAME, 63)),
        ("tag", text_pattern(LABEL, 63)),
        ("share", json!({"minimum": 0, "maximum": 100})),
        ("match.paths", max_items(64)),
        ("match.paths[]", text_pattern("^/", 1024)),
    ];
    for (list, item, key, values, value) in [
        (
            "match.all",
            "match.all[]",
            "match.all[].key",
            "match.all[].values",
            "match.all[].values[]",
        ),
        (
            "match.any",
            "match.any[]",
            "match.any[].key",
            "match.any[].values",
            "match.any[].values[]",
        ),
    ] {
        all.push((list, max_items(32)));
        all.push((item, json!({"x-kubernetes-validations": condition_rules()})));
        all.push((key, max_length(256)));
        all.push((values, max_items(256)));
        all.push((value, max_length(1024)));
    }
    all
}

/// The same checks as `domain::lanes` makes.
fn condition_rules() -> Vec<Value> {
    let count = "has(self.values) ? self.values.size() : 0";
    let percent = "^(100([.]0+)?|[0-9]{1,2}([.][0-9]+)?) ?%?$";
    vec![
        cel_rule(
            "self.type == 'method' || (has(self.key) && self.key != '')",
            "the name of the parameter, header or cookie is missing",
        ),
        cel_rule(
            &format!(
                "self.type != 'header' || !has(self.key) || self.key == '' || self.key.matches(\"{TOKEN}\")"
            ),
            "this cannot be the name of a header",
        ),
        cel_rule(
            &format!("self.op != 'exists' || ({count}) == 0"),
            "exists takes no value",
        ),
        cel_rule(
            &format!("!(self.op in ['in', 'notIn']) || ({count}) > 0"),
            "in and notIn need at least one value",
        ),
        cel_rule(
            &format!("self.op in ['in', 'notIn', 'exists'] || ({count}) == 1"),
            "this operator takes exactly one value; for several there are in and notIn",
        ),
        cel_rule(
            &format!(
                "self.op != 'percent' || !has(self.values) || self.values.size() != 1 || self.values[0].matches('{percent}')"
            ),
            "percent takes a percentage from 0 to 100",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::crd_definitions;

    /// Adding a constraint panics if its path is wrong; here the constraints must be in the result.
    #[test]
    fn every_rule_arrives_in_its_definition() {
        let text = serde_json::to_string(&crd_definitions()).unwrap();
        for words in [
            "cannot be changed",
            "exactly one of build",
            "a share replaces conditions",
            "exists takes no value",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }
}
