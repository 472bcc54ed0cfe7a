//! Constraints that the types cannot express: bounds, patterns and rules (CEL), added to the
//! generated schemas, so that an API server refuses what the cockpit would refuse.
//!
//! A real server refuses rules whose cost it cannot bound: every list or text that a rule reads has
//! a `maxItems` or a `maxLength`. The bounds are far above what anybody writes by hand.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::MOST_RETRIES;

/// Path in a schema and the keywords to add there. `[]` is an item of a list, `{}` a value of a
/// map.
type Constraint = (&'static str, Value);

/// Value of a label, not empty.
const LABEL: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Name of a namespace.
const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Name of a namespace in an AppTemplate, where it may contain `${APP}`.
const NAMESPACE_TO_BE: &str =
    "^([a-z0-9]|[$][{]APP[}])(([-a-z0-9]|[$][{]APP[}])*([a-z0-9]|[$][{]APP[}]))?$";
/// Name of an object.
const NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// Name of a stage or task: letters and digits of any script, with separators. No character is
/// special to a shell (except the blank), changes the reading direction or is invisible.
const WORDS: &str = r"^[\p{L}\p{N}]([-_. /\p{L}\p{M}\p{N}]*[\p{L}\p{M}\p{N}])?$";
/// Image reference, or its repository.
const REFERENCE: &str = "^([A-Za-z0-9][-A-Za-z0-9._/:@+]*)?$";
/// Tag of an image to build, possibly with `${DATETIME}`.
const TAG: &str = "^([-A-Za-z0-9._]|[$][{][A-Z]+[}])+$";
/// A line without control characters and invisible characters.
const PRINTABLE: &str = r"^[^\p{C}\p{Zl}\p{Zp}]+$";
/// Text without control characters and invisible characters, except line breaks and tabs.
const PROSE: &str = r"^([^\p{C}]|[\n\t])*$";
/// Maximum of every timeout in seconds: a year. Sums stay far from an overflow.
const A_YEAR: u32 = 31_536_000;
/// Service and port: `NAMESPACE/NAME:PORT`.
const SERVICE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?:[0-9]{1,5}$";
/// Rule for a hop source: exactly one kind.
const ONE_SOURCE: &str = "[has(self.accessLog), has(self.tempo), has(self.jaeger), has(self.zipkin), \
                          has(self.skyWalking)].filter(x, x).size() == 1";
/// Rule for a trace store: exactly one address.
const ONE_WAY: &str = "has(self.url) != has(self.service)";
/// Name of a header (RFC 9110, token).
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Adds the constraints of this module to a generated definition.
///
/// # Panics
///
/// If a constraint names a path that the schema does not have. A test covers all of them.
pub(super) fn constrain(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = definition.spec.names.kind.clone();
    let mut value = serde_json::to_value(definition).expect("a definition is JSON");
    let schema = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for (path, wanted) in constraints(&kind) {
        let place = find(schema, &path).unwrap_or_else(|| panic!("{kind} has no {path}"));
        for (key, value) in wanted.as_object().into_iter().flatten() {
            place.insert(key.clone(), value.clone());
        }
    }
    serde_json::from_value(value).expect("a definition stays one")
}

fn find<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut serde_json::Map<String, Value>> {
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

fn constraints(kind: &str) -> Vec<(String, Value)> {
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
            of("", vec![("", short_name())]),
            of("spec", [app(NAMESPACE), names()].concat()),
        ]
        .concat(),
        "AppTemplate" => [
            of("spec", vec![("description", text(4096))]),
            of("spec.app", app(NAMESPACE_TO_BE)),
        ]
        .concat(),
        "VariableGroup" => of("spec", variables()),
        "Release" => [of("spec", release()), of("spec", wishes())].concat(),
        "Approval" => [of("", vec![("", unchangeable())]), of("spec", approval())].concat(),
        "LaneGroup" => [of("", vec![("", short_name())]), of("spec", group())].concat(),
        "Lane" => of("spec", lane()),
        _ => vec![],
    }
}

fn text(most: u32) -> Value {
    json!({"maxLength": most})
}

fn pattern(pattern: &str, most: u32) -> Value {
    json!({"pattern": pattern, "minLength": 1, "maxLength": most})
}

fn items(most: u32) -> Value {
    json!({"maxItems": most})
}

fn at_most(most: u32) -> Value {
    json!({"minimum": 0, "maximum": most})
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

fn unique(most: u32, by: &str, message: &str) -> Value {
    let unique = format!("self.all(x, self.exists_one(y, y.{by} == x.{by}))");
    json!({"maxItems": most, "x-kubernetes-validations": [rule(&unique, message)]})
}

fn distinct(most: u32, message: &str) -> Value {
    let distinct = "self.all(x, self.exists_one(y, y == x))";
    json!({"maxItems": most, "x-kubernetes-validations": [rule(distinct, message)]})
}

/// Apps and LaneGroups use their names as label values.
fn short_name() -> Value {
    let message = "the name becomes a label: up to 63 characters";
    json!({"x-kubernetes-validations": [rule("self.metadata.name.size() <= 63", message)]})
}

fn variables() -> Vec<Constraint> {
    vec![("description", text(4096)), ("app", pattern(NAME, 63))]
}

fn app(namespace: &str) -> Vec<Constraint> {
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
        ("manifests", items(128)),
        (
            "environments",
            unique(64, "name", "two environments have the same name"),
        ),
        ("environments[].name", pattern(LABEL, 63)),
        ("environments[].lane", pattern(LABEL, 63)),
        ("environments[].serviceAccountName", pattern(NAME, 253)),
        ("environments[].namespace", pattern(namespace, 63)),
        (
            "environments[].variableGroups",
            distinct(16, "a variable group is named twice"),
        ),
        ("environments[].variableGroups[]", pattern(NAME, 253)),
        ("environments[].rollout.batches", items(100)),
        ("environments[].rollout.timeoutSeconds", at_most(A_YEAR)),
        ("environments[].rollout.drainSeconds", at_most(A_YEAR)),
        ("history.limit", json!({"minimum": 0, "maximum": 10000})),
        ("history.ttlSecondsAfterFinished", at_most(10 * A_YEAR)),
        (
            "workflow.stages",
            unique(32, "name", "two stages have the same name"),
        ),
        (
            "workflow.stages[].name",
            json!({"minLength": 1, "maxLength": 63}),
        ),
        (
            "workflow.stages[].tasks",
            unique(64, "name", "two tasks of a stage have the same name"),
        ),
        (
            "workflow.stages[].tasks[]",
            json!({"x-kubernetes-validations": [rule(one_kind, one_kind_words)]}),
        ),
        (
            "workflow.stages[].tasks[].name",
            json!({"minLength": 1, "maxLength": 63}),
        ),
        (
            "workflow.stages[].tasks[].approval",
            json!({"x-kubernetes-validations": [rule(counted, "mode count needs a count")]}),
        ),
        ("workflow.stages[].tasks[].approval.approvers", items(64)),
        (
            "workflow.stages[].tasks[].approval.approvers[]",
            json!({"minLength": 1, "maxLength": 1024}),
        ),
        ("workflow.stages[].tasks[].approval.count", at_most(1000)),
        (
            "workflow.stages[].tasks[].approval.timeoutSeconds",
            at_most(A_YEAR),
        ),
        (
            "workflow.stages[].tasks[].build.timeoutSeconds",
            at_most(A_YEAR),
        ),
        (
            "workflow.stages[].tasks[].deploy.environment",
            pattern(LABEL, 63),
        ),
        (
            "workflow.stages[].tasks[].cleanUp.environment",
            pattern(LABEL, 63),
        ),
        ("workflow.stages[].tasks[].verify.probes", items(64)),
        (
            "workflow.stages[].tasks[].verify.probes[].count",
            at_most(1000),
        ),
        (
            "workflow.stages[].tasks[].verify.timeoutSeconds",
            at_most(A_YEAR),
        ),
    ]
}

/// Names in an App. An AppTemplate may have `${APP}` in each of them; the Apps created from it are
/// validated.
fn names() -> Vec<Constraint> {
    vec![
        (
            "images{}.repository",
            json!({"pattern": REFERENCE, "maxLength": 1024}),
        ),
        (
            "images{}.default",
            json!({"pattern": REFERENCE, "maxLength": 1024}),
        ),
        ("environments[].context", pattern(PRINTABLE, 1024)),
        ("workflow.stages[].name", pattern(WORDS, 63)),
        ("workflow.stages[].tasks[].name", pattern(WORDS, 63)),
        ("workflow.stages[].tasks[].build.image", pattern(LABEL, 63)),
        ("workflow.stages[].tasks[].build.tag", pattern(TAG, 128)),
        (
            "workflow.stages[].tasks[].proceed.prompt",
            json!({"pattern": PROSE, "maxLength": 4096}),
        ),
        (
            "workflow.stages[].tasks[].verify.laneGroup",
            pattern(NAME, 63),
        ),
        (
            "workflow.stages[].tasks[].verify.probes[].path",
            pattern(PRINTABLE, 4096),
        ),
    ]
}

/// For a map. The cost of a rule must not depend on the length of a key, which is unbounded.
fn few_short_names(message: &str) -> Value {
    json!({"maxProperties": 64, "x-kubernetes-validations": [rule("self.all(name, name.size() <= 63)", message)]})
}

/// The request is immutable: only `control` and the comment may change.
fn release() -> Vec<Constraint> {
    let same = |field: &str| {
        let both = format!("has(self.{field}) == has(oldSelf.{field})");
        rule(
            &format!("{both} && (!has(self.{field}) || self.{field} == oldSelf.{field})"),
            &format!("the {field} of a Release cannot be changed; start another one"),
        )
    };
    let what = "has(self.teardown) != (has(self.stage) && self.stage != '')";
    let mut rules = vec![rule(what, "a Release is of a stage, or it is a teardown")];
    rules.extend(["app", "stage", "teardown", "images", "requester", "window"].map(same));
    vec![
        ("", json!({"x-kubernetes-validations": rules})),
        ("app", pattern(NAME, 63)),
        ("stage", text(63)),
        ("teardown.environment", pattern(LABEL, 63)),
        ("images", json!({"maxProperties": 64})),
        (
            "images{}",
            json!({"pattern": REFERENCE, "minLength": 1, "maxLength": 1024}),
        ),
        ("comment", text(4096)),
        ("requester", text(1024)),
        ("window", text(253)),
    ]
}

fn wishes() -> Vec<Constraint> {
    vec![
        ("control.allow", json!({"maxProperties": 64})),
        ("control.allow{}", at_most(MOST_RETRIES)),
        ("control.retry", json!({"maxProperties": 64})),
        ("control.retry{}", at_most(MOST_RETRIES)),
        ("control.takeOver", json!({"maxProperties": 64})),
        ("control.takeOver{}", at_most(MOST_RETRIES + 1)),
        ("control.skip", items(64)),
        ("control.last.by", text(1024)),
        ("control.last.comment", text(4096)),
    ]
}

fn unchangeable() -> Value {
    json!({"x-kubernetes-validations": [rule("self.spec == oldSelf.spec", "an Approval cannot be changed")]})
}

fn approval() -> Vec<Constraint> {
    vec![
        ("release", pattern(NAME, 253)),
        ("releaseUid", json!({"minLength": 1, "maxLength": 128})),
        ("task", json!({"minLength": 1, "maxLength": 63})),
        ("attempt", json!({"minimum": 1})),
        ("approver", json!({"minLength": 1, "maxLength": 1024})),
        ("comment", text(4096)),
        ("images", json!({"maxProperties": 64})),
        ("images{}", text(1024)),
        ("revision", text(253)),
        (
            "digest",
            json!({"pattern": "^sha256:[0-9a-f]{64}$", "maxLength": 71}),
        ),
    ]
}

fn group() -> Vec<Constraint> {
    let twice = "two routes of the entry have the same path";
    let mut all = vec![
        ("entry.gateway", pattern(NAME, 253)),
        ("entry.host", text(253)),
        ("entry.routes", unique(64, "path", twice)),
        ("entry.routes[].path", pattern("^/", 1024)),
        ("entry.routes[].app", pattern(NAME, 63)),
        ("entry.routes[].rewrite", pattern("^/", 1024)),
        (
            "apps",
            unique(128, "app", "an app stands twice in the group"),
        ),
        ("apps[].app", pattern(NAME, 63)),
        ("apps[].service", pattern(NAMESPACE, 63)),
        ("apps[].port", json!({"minimum": 1, "maximum": 65535})),
        ("propagation.header", pattern(TOKEN, 128)),
        ("propagation.baggage", pattern(TOKEN, 128)),
        ("hops", items(8)),
        (
            "hops[]",
            json!({"x-kubernetes-validations": [rule(ONE_SOURCE, "exactly one of accessLog, tempo, jaeger, zipkin and skyWalking")]}),
        ),
        ("hops[].accessLog.namespace", pattern(NAMESPACE, 63)),
        ("hops[].accessLog.container", pattern(NAMESPACE, 63)),
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
    all.extend(fields.map(|field| (field, pattern(PRINTABLE, 128))));
    let stores = [
        "hops[].tempo",
        "hops[].jaeger",
        "hops[].zipkin",
        "hops[].skyWalking",
    ];
    all.extend(stores.map(|store| {
        (
            store,
            json!({"x-kubernetes-validations": [rule(ONE_WAY, "exactly one of url and service")]}),
        )
    }));
    let places = [
        "hops[].tempo.url",
        "hops[].jaeger.url",
        "hops[].zipkin.url",
        "hops[].skyWalking.url",
    ];
    all.extend(places.map(|place| (place, pattern("^https?://[^\\p{C}\\s]+$", 1024))));
    let places = [
        "hops[].tempo.service",
        "hops[].jaeger.service",
        "hops[].zipkin.service",
        "hops[].skyWalking.service",
    ];
    all.extend(places.map(|place| (place, pattern(SERVICE, 160))));
    let places = [
        "hops[].tempo.basePath",
        "hops[].jaeger.basePath",
        "hops[].zipkin.basePath",
        "hops[].skyWalking.basePath",
    ];
    all.extend(places.map(|place| (place, pattern("^/[^\\p{C}\\s]*$", 256))));
    let places = [
        "hops[].tempo.gatewayName",
        "hops[].jaeger.gatewayName",
        "hops[].zipkin.gatewayName",
        "hops[].skyWalking.gatewayName",
    ];
    all.extend(places.map(|place| (place, pattern(PRINTABLE, 256))));
    let places = [
        "hops[].tempo.tagAttribute",
        "hops[].jaeger.tagAttribute",
        "hops[].zipkin.tagAttribute",
        "hops[].skyWalking.tagAttribute",
    ];
    all.extend(places.map(|place| (place, pattern(PRINTABLE, 256))));
    all
}

fn lane() -> Vec<Constraint> {
    let beside = "!has(self.share) || !has(self.match) || ((!has(self.match.all) || self.match.all.size() == 0) && \
                  (!has(self.match.any) || self.match.any.size() == 0))";
    let beside_words = "a share stands instead of conditions, not beside them";
    let mut all = vec![
        (
            "",
            json!({"x-kubernetes-validations": [rule(beside, beside_words)]}),
        ),
        ("group", pattern(NAME, 63)),
        ("tag", pattern(LABEL, 63)),
        ("share", json!({"minimum": 0, "maximum": 100})),
        ("match.paths", items(64)),
        ("match.paths[]", pattern("^/", 1024)),
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
        all.push((list, items(32)));
        all.push((item, json!({"x-kubernetes-validations": condition()})));
        all.push((key, text(256)));
        all.push((values, items(256)));
        all.push((value, text(1024)));
    }
    all
}

/// The same checks as `domain::lanes` makes.
fn condition() -> Vec<Value> {
    let count = "has(self.values) ? self.values.size() : 0";
    let percent = "^(100([.]0+)?|[0-9]{1,2}([.][0-9]+)?) ?%?$";
    vec![
        rule(
            "self.type == 'method' || (has(self.key) && self.key != '')",
            "the name of the parameter, header or cookie is missing",
        ),
        rule(
            &format!(
                "self.type != 'header' || !has(self.key) || self.key == '' || self.key.matches(\"{TOKEN}\")"
            ),
            "this cannot be the name of a header",
        ),
        rule(
            &format!("self.op != 'exists' || ({count}) == 0"),
            "exists takes no value",
        ),
        rule(
            &format!("!(self.op in ['in', 'notIn']) || ({count}) > 0"),
            "in and notIn need at least one value",
        ),
        rule(
            &format!("self.op in ['in', 'notIn', 'exists'] || ({count}) == 1"),
            "this operator takes exactly one value; for several there are in and notIn",
        ),
        rule(
            &format!(
                "self.op != 'percent' || !has(self.values) || self.values.size() != 1 || self.values[0].matches('{percent}')"
            ),
            "percent takes a percentage from 0 to 100",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::definitions;

    /// Adding a constraint panics if its path is wrong; here the constraints must be in the result.
    #[test]
    fn every_rule_arrives_in_its_definition() {
        let text = serde_json::to_string(&definitions()).unwrap();
        for words in [
            "cannot be changed",
            "exactly one of build",
            "instead of conditions",
            "exists takes no value",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }
}
