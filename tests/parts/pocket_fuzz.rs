//! Any request at pocket's API: no panic, always an answer, and a refusal is a Status in JSON that never says that
//! pocket itself failed.
//!
//! `GRAYLANE_FUZZ_CASES` says how many requests are tried; the long run is a million.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use pocket::rest::ApiServer;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

/// Requests that are under way at the same time.
const SIDE_BY_SIDE: u32 = 50;
/// Requests that one server answers: then a new one begins with nothing.
const EACH: usize = 10_000;

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    uri: String,
    content_type: String,
    accept: String,
    body: Vec<u8>,
}

const PREFIXES: &[&str] = &[
    "/api/v1",
    "/api/v1",
    "/api/v1",
    "/apis/apps/v1",
    "/apis/apps/v1",
    "/apis/batch/v1",
    "/apis/discovery.k8s.io/v1",
    "/apis/coordination.k8s.io/v1",
    "/apis/apiextensions.k8s.io/v1",
    "/apis/authorization.k8s.io/v1",
    "/apis/gateway.networking.k8s.io/v1",
    "/apis/f.example/v1",
    "/apis/policy/v1",
    "/apis/apps/v0",
    "/apis",
    "/openapi/v2",
    "/openapi/v3",
    "/version",
    "",
];
const PLURALS: &[&str] = &[
    "configmaps",
    "secrets",
    "pods",
    "services",
    "endpoints",
    "events",
    "nodes",
    "namespaces",
    "serviceaccounts",
    "deployments",
    "replicasets",
    "statefulsets",
    "controllerrevisions",
    "jobs",
    "endpointslices",
    "leases",
    "customresourcedefinitions",
    "things",
    "selfsubjectaccessreviews",
    "httproutes",
    "daemonsets",
    "%6eodes",
    "%ff",
];
const SUBRESOURCES: &[&str] = &[
    "status", "scale", "log", "binding", "finalize", "exec", "eviction", "token", "x", "..",
    "status/x",
];
const PARAMETERS: &[&str] = &[
    "watch",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "limit",
    "continue",
    "labelSelector",
    "fieldSelector",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "propagationPolicy",
    "gracePeriodSeconds",
    "pretty",
    "follow",
    "tailLines",
    "sinceTime",
    "container",
    "includeObject",
];
const ARGUMENTS: &[&str] = &[
    "",
    "true",
    "1",
    "0",
    "-1",
    "All",
    "Strict",
    "Ignore",
    "a",
    "a%3Db",
    "a+in+(b,c)",
    "!a,b",
    "a>5",
    "metadata.name%3Da",
    "spec.nodeName!%3D",
    "18446744073709551616",
    "NotOlderThan",
    "Exact",
    "Foreground",
    "Orphan",
    "Background",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0",
    "2026-01-01T00:00:00Z",
    "%ff%00",
    "Object",
];
const TYPES: &[&str] = &[
    "application/json",
    "application/json; charset=utf-8",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/plain",
    "",
];
const ACCEPTED: &[&str] = &[
    "",
    "*/*",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "text/html;q=x",
];
/// Fields of all kinds, to be set in any object.
const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "resourceVersion",
    "uid",
    "deletionTimestamp",
    "creationTimestamp",
    "data",
    "binaryData",
    "immutable",
    "type",
    "spec",
    "status",
    "replicas",
    "selector",
    "matchLabels",
    "template",
    "containers",
    "initContainers",
    "image",
    "ports",
    "containerPort",
    "nodePort",
    "protocol",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "env",
    "valueFrom",
    "volumes",
    "emptyDir",
    "livenessProbe",
    "httpGet",
    "tcpSocket",
    "periodSeconds",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "partition",
    "clusterIP",
    "externalName",
    "endpoints",
    "addresses",
    "conditions",
    "leaseDurationSeconds",
    "renewTime",
    "backoffLimit",
    "podFailurePolicy",
    "involvedObject",
    "versions",
    "schema",
    "openAPIV3Schema",
    "properties",
    "x-kubernetes-validations",
    "rule",
    "default",
    "names",
    "scope",
    "op",
    "path",
    "value",
    "from",
    "$patch",
    "$setElementOrder/ports",
    "$retainKeys",
    "0",
    "propagationPolicy",
    "preconditions",
    "target",
];

fn objects() -> Vec<Value> {
    let pod =
        json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    let of = |api: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a"}});
        rest.as_object()
            .unwrap()
            .iter()
            .for_each(|(k, v)| object[k] = v.clone());
        object
    };
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"n": {"type": "integer", "default": 1}}, "x-kubernetes-validations": [{"rule": "self.n > 0"}]}}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}});
    vec![
        of("v1", "ConfigMap", json!({"data": {"a": "b"}})),
        of(
            "v1",
            "Secret",
            json!({"type": "Opaque", "stringData": {"a": "b"}}),
        ),
        of("v1", "Pod", json!({"spec": pod})),
        of(
            "v1",
            "Service",
            json!({"spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        ),
        of("v1", "Namespace", json!({})),
        of("v1", "Node", json!({})),
        of(
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        ),
        of(
            "v1",
            "Event",
            json!({"involvedObject": {"kind": "Pod", "namespace": "default"}}),
        ),
        of(
            "apps/v1",
            "Deployment",
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
        of(
            "apps/v1",
            "ReplicaSet",
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
        of(
            "apps/v1",
            "StatefulSet",
            json!({"spec": {"serviceName": "a", "selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        ),
        of(
            "batch/v1",
            "Job",
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": pod["containers"]}}}}),
        ),
        of(
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 1}}),
        ),
        of(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        ),
        of(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"metadata": {"name": "things.f.example"},
            "spec": {"group": "f.example", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [version]}}),
        ),
        of("f.example/v1", "Thing", json!({"spec": {"n": 2}})),
        of("autoscaling/v1", "Scale", json!({"spec": {"replicas": 1}})),
        of(
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview",
            json!({"spec": {"resourceAttributes": {"verb": "get"}}}),
        ),
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}),
        json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}, {"op": "test", "path": "/kind", "value": 1}]),
        json!({"spec": {"ports": [{"$patch": "delete", "port": 80}]}}),
        json!({"metadata": {"labels": {"a": null}}}),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => select(&["", "a", "A", "a.b", "-", "100m", "1e9Gi", "x/y", "50%", "/a/b", "/-", "2026-01-01T00:00:00Z", "TCP", "灰", "\u{0}",
            "Recreate", "Always", "10.0.0.1", "None", "self.n > 0", "self.all(x, x.y)", "a/b", "v1", "Pod", "replace", "move"][..])
            .prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        2 => select(&[0, 1, -1, 80, 30080, 65536, i64::MAX, i64::MIN][..]).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({})),
        1 => Just(json!([])),
        1 => Just(json!([null])),
        1 => Just(json!([{}])),
        1 => Just(json!({"a": "b"})),
    ]
}

/// Sets a field somewhere in a value: the number chooses the way down.
fn set(at: &mut Value, way: u64, field: &str, to: Value) {
    let (here, rest) = (way.is_multiple_of(4), way / 4);
    match at {
        Value::Object(map) if here || map.is_empty() => drop(map.insert(field.to_owned(), to)),
        Value::Array(all) if here || all.is_empty() => all.push(to),
        Value::Object(map) => {
            let n = rest % map.len() as u64;
            let inside = map.values_mut().nth(usize::try_from(n).unwrap()).unwrap();
            set(inside, rest / 3, field, to);
        }
        Value::Array(all) => {
            let n = rest % all.len() as u64;
            set(&mut all[usize::try_from(n).unwrap()], rest / 3, field, to);
        }
        other => *other = to,
    }
}

/// The envelope of protobuf around any bytes.
fn protobuf(kind: (&str, &str), inside: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len().min(127)).unwrap();
        [&[number << 3 | 2, length], &bytes[..usize::from(length)]].concat()
    };
    let of = [field(1, kind.0.as_bytes()), field(2, kind.1.as_bytes())].concat();
    [b"k8s\0", &field(1, &of)[..], &field(2, inside)].concat()
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let edits = || prop::collection::vec((any::<u64>(), select(FIELDS), leaf()), 0..4);
    let object = || {
        (select(objects()), edits()).prop_map(|(mut object, edits)| {
            edits
                .into_iter()
                .for_each(|(way, field, to)| set(&mut object, way, field, to));
            object
        })
    };
    // Wire types, lengths and field numbers close together.
    let message = prop::collection::vec(prop_oneof![0..0x40_u8, any::<u8>()], 0..60);
    const KINDS: &[(&str, &str)] = &[
        ("v1", "Pod"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("v1", "x"),
        ("v1", "DeleteOptions"),
    ];
    let body = prop_oneof![
        6 => object().prop_map(|o| o.to_string().into_bytes()),
        2 => object().prop_map(|o| serde_saphyr::to_string(&o).unwrap().into_bytes()),
        2 => (select(KINDS), message).prop_map(|(kind, message)| protobuf(kind, &message)),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => "[-a-c:{}\\[\\], \n\"'&*!|>#0-9.]{0,40}".prop_map(String::into_bytes),
        1 => Just("[".repeat(5000).into_bytes()),
        1 => Just(vec![]),
    ];
    let spoilt = prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
    (body, spoilt).prop_map(|(mut body, spoilt)| {
        if let (Some((at, byte)), false) = (spoilt, body.is_empty()) {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body
    })
}

fn requests() -> impl Strategy<Value = Asked> {
    let name = || {
        select(
            &[
                "a",
                "b",
                "default",
                "things.f.example",
                "A",
                "%61",
                "..",
                "a%2Fb",
                "kubernetes",
            ][..],
        )
    };
    let path = (
        select(PREFIXES),
        prop::option::weighted(
            0.7,
            select(&["default", "a", "kube-system", "nowhere", "%00"][..]),
        ),
        prop::option::weighted(0.95, select(PLURALS)),
        prop::option::weighted(0.6, name()),
        prop::option::weighted(0.2, select(SUBRESOURCES)),
        prop::option::weighted(0.05, "[/a-c%.~]{1,6}"),
    )
        .prop_map(|(prefix, namespace, plural, name, sub, odd)| {
            let mut path = prefix.to_owned();
            namespace
                .iter()
                .for_each(|n| path.push_str(&format!("/namespaces/{n}")));
            [plural, name, sub]
                .into_iter()
                .flatten()
                .for_each(|part| path.push_str(&format!("/{part}")));
            odd.iter().for_each(|odd| path.push_str(odd));
            if path.is_empty() {
                "/".to_owned()
            } else {
                path
            }
        });
    let query =
        prop::collection::vec((select(PARAMETERS), select(ARGUMENTS)), 0..3).prop_map(|all| {
            let all: Vec<String> = all
                .into_iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            if all.is_empty() {
                String::new()
            } else {
                format!("?{}", all.join("&"))
            }
        });
    let method = select(
        &[
            "GET", "POST", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS",
        ][..],
    );
    let content = prop_oneof![9 => select(TYPES).prop_map(str::to_owned), 1 => "[ -~]{0,20}"];
    let accept = prop_oneof![9 => select(ACCEPTED).prop_map(str::to_owned), 1 => "[ -~]{0,20}"];
    (method, path, query, content, accept, bodies()).prop_map(
        |(method, path, query, content_type, accept, body)| {
            // With a name a POST goes nowhere.
            Asked {
                method,
                uri: path + &query,
                content_type,
                accept,
                body,
            }
        },
    )
}

/// Words of Kubernetes for faults that it takes for its own.
fn is_as_in_kubernetes(message: &str) -> bool {
    message == "resourceVersion should not be set on objects to be created"
}

async fn ask(server: &ApiServer, asked: &Asked) -> Result<(), TestCaseError> {
    let request = Request::builder()
        .method(asked.method)
        .uri(asked.uri.as_str())
        .header(header::CONTENT_TYPE, &asked.content_type)
        .header(header::ACCEPT, &asked.accept)
        .body(Full::new(Bytes::from(asked.body.clone())));
    // What hyper would refuse before.
    let Ok(request) = request else { return Ok(()) };
    let shown = || {
        format!(
            "{} {} {:?} {}",
            asked.method,
            asked.uri,
            asked.content_type,
            asked.body.escape_ascii()
        )
    };
    let answer = tokio::time::timeout(Duration::from_mins(1), server.handle_request(request)).await;
    let Ok(answer) = answer else {
        return Err(TestCaseError::fail(format!("no answer: {}", shown())));
    };
    let status = answer.status().as_u16();
    if asked.uri.contains("watch=") || asked.uri.contains("follow=") {
        return Ok(());
    }
    let body = tokio::time::timeout(Duration::from_mins(1), answer.into_body().collect()).await;
    let Ok(Ok(body)) = body else {
        return Err(TestCaseError::fail(format!("no end: {}", shown())));
    };
    if status < 400 {
        return Ok(());
    }
    let told: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let message = told["message"].as_str().unwrap_or_default();
    prop_assert!(
        told["kind"] == "Status" && told["code"] == status,
        "{status} {told}: {}",
        shown()
    );
    prop_assert!(
        status < 500 || status == 501 || is_as_in_kubernetes(message),
        "{status} {message}: {}",
        shown()
    );
    Ok(())
}

#[test]
fn any_request_is_answered_and_no_refusal_is_a_fault_of_pockets_own() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let open = || {
        let dir = tempfile::tempdir().unwrap();
        let server = runtime
            .block_on(async { graylane::embedded::open_api(dir.path()) })
            .unwrap();
        (server, dir, 0)
    };
    let pocket = RefCell::new(open());
    crate::fuzz::any(
        "requests at pocket",
        400,
        SIDE_BY_SIDE,
        &requests(),
        |all| {
            let mut pocket = pocket.borrow_mut();
            if pocket.2 > EACH {
                runtime.block_on(pocket.0.close());
                *pocket = open();
            }
            pocket.2 += all.len();
            let answers = all.iter().map(|asked| ask(&pocket.0, asked));
            runtime
                .block_on(futures::future::join_all(answers))
                .into_iter()
                .collect()
        },
    );
}
