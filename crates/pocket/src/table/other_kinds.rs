//! Columns of all kinds that are not workloads.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Column, Layout, age, array_items, column, format_pairs, int_or_zero, text_or, wide_column,
};

type MiddleCells = fn(&Value, Timestamp) -> Vec<Value>;

/// Every table starts with the name and ends with the age, unless the kind defines its own columns.
pub(super) fn layout_for_kind(kind: &str) -> Option<Layout<'static>> {
    let one = |name: &str| vec![column(name, "string")];
    let (middle, cells): (Vec<Column>, MiddleCells) = match kind {
        "Event" => return Some(event_layout()),
        "Service" => return Some(service_layout()),
        "Node" => return Some(node_layout()),
        "Namespace" => (one("Status"), |o, _| {
            vec![text_or(&o["status"]["phase"], "Active").into()]
        }),
        "ConfigMap" => (one("Data"), |o, _| {
            vec![(count_entries(&o["data"]) + count_entries(&o["binaryData"])).into()]
        }),
        "Secret" => (
            vec![column("Type", "string"), column("Data", "string")],
            |o, _| vec![o["type"].clone(), count_entries(&o["data"]).into()],
        ),
        "ServiceAccount" => (one("Secrets"), |o, _| {
            vec![array_items(&o["secrets"]).len().into()]
        }),
        "Lease" => (one("Holder"), |o, _| {
            vec![text_or(&o["spec"]["holderIdentity"], "").into()]
        }),
        "Endpoints" => (one("Endpoints"), |o, _| vec![endpoints_cell(o)]),
        "EndpointSlice" => (
            vec![
                column("AddressType", "string"),
                column("Ports", "string"),
                column("Endpoints", "string"),
            ],
            |o, _| {
                let ports: Vec<String> = array_items(&o["ports"])
                    .iter()
                    .map(|p| int_or_zero(&p["port"]).to_string())
                    .collect();
                let all = array_items(&o["endpoints"])
                    .iter()
                    .flat_map(|e| array_items(&e["addresses"]));
                let all: Vec<String> = all.filter_map(|a| a.as_str().map(str::to_owned)).collect();
                vec![
                    o["addressType"].clone(),
                    format_first(&ports),
                    format_first(&all),
                ]
            },
        ),
        _ => return None,
    };
    let mut columns = vec![column("Name", "string:name")];
    columns.extend(middle);
    columns.push(column("Age", "string"));
    Some(Layout {
        columns,
        cells: Box::new(move |object, now| {
            let mut all = vec![object["metadata"]["name"].clone()];
            all.extend(cells(object, now));
            all.push(age::format_age(object, now));
            all
        }),
    })
}

fn endpoints_cell(o: &Value) -> Value {
    let mut all = Vec::new();
    for subset in array_items(&o["subsets"]) {
        for port in array_items(&subset["ports"]) {
            let address =
                |a: &Value| format!("{}:{}", text_or(&a["ip"], ""), int_or_zero(&port["port"]));
            all.extend(array_items(&subset["addresses"]).iter().map(address));
        }
    }
    format_first(&all)
}

fn count_entries(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

/// Formats the first three, and how many more there are.
fn format_first(all: &[String]) -> Value {
    match all.len() {
        0 => "<none>".into(),
        n if n > 3 => format!("{} + {} more...", all[..3].join(","), n - 3).into(),
        _ => all.join(",").into(),
    }
}

fn service_layout() -> Layout<'static> {
    let mut columns = vec![column("Name", "string:name")];
    columns.extend(
        ["Type", "Cluster-IP", "External-IP", "Port(s)", "Age"].map(|n| column(n, "string")),
    );
    columns.push(wide_column("Selector", "string"));
    Layout {
        columns,
        cells: Box::new(|service, now| {
            let spec = &service["spec"];
            let port = |p: &Value| match int_or_zero(&p["nodePort"]) {
                0 => format!(
                    "{}/{}",
                    int_or_zero(&p["port"]),
                    text_or(&p["protocol"], "TCP")
                ),
                node => format!(
                    "{}:{node}/{}",
                    int_or_zero(&p["port"]),
                    text_or(&p["protocol"], "TCP")
                ),
            };
            let ports: Vec<String> = array_items(&spec["ports"]).iter().map(port).collect();
            let external: Vec<&str> = array_items(&spec["externalIPs"])
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let external = match text_or(&spec["externalName"], "") {
                "" if external.is_empty() => "<none>".to_owned(),
                "" => external.join(","),
                name => name.to_owned(),
            };
            vec![
                service["metadata"]["name"].clone(),
                spec["type"].clone(),
                text_or(&spec["clusterIP"], "<none>").into(),
                external.into(),
                if ports.is_empty() {
                    "<none>".into()
                } else {
                    ports.join(",").into()
                },
                age::format_age(service, now),
                format_pairs(&spec["selector"]).into(),
            ]
        }),
    }
}

fn node_layout() -> Layout<'static> {
    let mut columns = vec![column("Name", "string:name")];
    columns.extend(["Status", "Roles", "Age", "Version"].map(|n| column(n, "string")));
    let more = [
        "Internal-IP",
        "External-IP",
        "OS-Image",
        "Kernel-Version",
        "Container-Runtime",
    ];
    columns.extend(more.map(|n| wide_column(n, "string")));
    Layout {
        columns,
        cells: Box::new(node_cells),
    }
}

fn node_cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let status = &node["status"];
    let ready = array_items(&status["conditions"])
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut word = match ready.and_then(|c| c["status"].as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        word += ",SchedulingDisabled";
    }
    let role = |label: &String| {
        label
            .strip_prefix("node-role.kubernetes.io/")
            .map(str::to_owned)
    };
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<String> = labels.filter_map(|(label, _)| role(label)).collect();
    roles.sort();
    let address = |kind: &str| {
        let found = array_items(&status["addresses"])
            .iter()
            .find(|a| a["type"] == kind);
        found
            .map_or("<none>", |a| text_or(&a["address"], "<none>"))
            .to_owned()
    };
    let info = |field: &str| Value::from(text_or(&status["nodeInfo"][field], "<unknown>"));
    vec![
        node["metadata"]["name"].clone(),
        word.into(),
        if roles.is_empty() {
            "<none>".into()
        } else {
            roles.join(",").into()
        },
        age::format_age(node, now),
        info("kubeletVersion"),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn event_layout() -> Layout<'static> {
    let mut columns: Vec<Column> = ["Last Seen", "Type", "Reason", "Object"]
        .map(|n| column(n, "string"))
        .into();
    columns.extend(["Subobject", "Source"].map(|n| wide_column(n, "string")));
    columns.push(column("Message", "string"));
    columns.extend([
        wide_column("First Seen", "string"),
        wide_column("Count", "string"),
        wide_column("Name", "string:name"),
    ]);
    Layout {
        columns,
        cells: Box::new(|event, now| {
            // Events of both groups come here, with the field names of either.
            let either = |old: &str, new: &str| {
                if event[old].is_null() {
                    &event[new]
                } else {
                    &event[old]
                }
            };
            let object = either("involvedObject", "regarding");
            let source = either("source", "deprecatedSource");
            let reporter = text_or(either("reportingComponent", "reportingController"), "");
            let time = &event["eventTime"];
            let first = match either("firstTimestamp", "deprecatedFirstTimestamp") {
                Value::Null => time,
                first => first,
            };
            let last = match (
                &event["series"]["lastObservedTime"],
                either("lastTimestamp", "deprecatedLastTimestamp"),
            ) {
                (Value::String(_), _) => &event["series"]["lastObservedTime"],
                (_, Value::Null) => first,
                (_, last) => last,
            };
            let count = match int_or_zero(&event["series"]["count"]) {
                0 => int_or_zero(either("count", "deprecatedCount")).max(1),
                n => n,
            };
            let seen = |time: &Value| age::format_since(time.as_str().unwrap_or_default(), now);
            let kind = text_or(&object["kind"], "").to_lowercase();
            vec![
                seen(last),
                event["type"].clone(),
                event["reason"].clone(),
                json!(format!("{kind}/{}", text_or(&object["name"], ""))),
                text_or(&object["fieldPath"], "").into(),
                text_or(&source["component"], reporter).into(),
                text_or(either("message", "note"), "").trim().into(),
                seen(first),
                count.into(),
                event["metadata"]["name"].clone(),
            ]
        }),
    }
}
