//! What kubectl prints in its tables, and what `graylane get` prints: under the same heading the same words.

use serde_json::{Value, json};

use super::{super::Kubectl, facts::name};
use crate::support::demo::Demo;

/// One printed row: heading and cell, in order.
pub(super) type Row = Vec<(String, String)>;

/// Columns begin where their headings do; blanks between headings are two at least.
fn table(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let Some(head) = lines.next() else {
        return vec![];
    };
    let mut starts = vec![];
    let bytes = head.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        let begins =
            *byte != b' ' && (i == 0 || (bytes[i - 1] == b' ' && (i < 2 || bytes[i - 2] == b' ')));
        if begins {
            starts.push(i);
        }
    }
    let cell = |line: &str, n: usize| -> String {
        let chars: Vec<char> = line.chars().collect();
        let end = starts
            .get(n + 1)
            .copied()
            .unwrap_or(chars.len())
            .min(chars.len());
        let text: String = chars
            .get(starts[n].min(end)..end)
            .unwrap_or_default()
            .iter()
            .collect();
        match text.trim() {
            "-" | "<none>" => String::new(),
            text => text.to_owned(),
        }
    };
    lines
        .map(|line| {
            (0..starts.len())
                .map(|n| (cell(head, n), cell(line, n)))
                .collect()
        })
        .collect()
}

/// The tables of one `kubectl get` of all kinds that are printed anywhere.
pub(super) async fn tables(kubectl: &Kubectl) -> Vec<Row> {
    let kinds = "apps.graylane.dev,releases.graylane.dev,approvals.graylane.dev,lanegroups.graylane.dev,\
                 lanes.graylane.dev,deployments.apps,pods";
    let text = kubectl
        .ok(&["-n", "demo", "get", kinds, "-o", "wide"])
        .await;
    text.split("\n\n").flat_map(table).collect()
}

pub(super) fn of<'a>(
    rows: &'a [Row],
    kind: &str,
    name: &str,
) -> impl Fn(&str) -> &'a str + use<'a> {
    let whole = format!("{kind}/{name}");
    let row = rows.iter().find(|r| {
        r.iter()
            .any(|(head, cell)| head == "NAME" && *cell == whole)
    });
    move |heading| {
        row.and_then(|r| r.iter().find(|(head, _)| head == heading))
            .map_or("(no row)", |(_, cell)| cell)
    }
}

/// Everything in which the tables differ.
pub(super) async fn differ(demo: &Demo, printed: &[Row], objects: &[Value]) -> Vec<String> {
    let mut out = vec![];
    let mut compared = 0;
    let kinds = ["release", "approval", "lanegroup", "lane", "app"];
    let own = kinds.map(async |kind| (kind, demo.ok(&["get", kind, "-o", "wide"]).await));
    for (kind, text) in futures::future::join_all(own).await {
        for row in table(&text) {
            let name = row
                .iter()
                .find(|(head, _)| head == "NAME")
                .map_or("", |(_, cell)| cell);
            let theirs = of(printed, &format!("{kind}.graylane.dev"), name);
            // The age goes on between two looks.
            for (heading, own) in row
                .iter()
                .filter(|(head, _)| head != "NAME" && head != "AGE")
            {
                let theirs = theirs(heading);
                if theirs == "(no row)"
                    && of(printed, &format!("{kind}.graylane.dev"), name)("NAME") != "(no row)"
                {
                    continue;
                }
                compared += 1;
                let same = match heading.as_str() {
                    "STAGE" => own == theirs || own.starts_with("(teardown"),
                    _ => own == theirs,
                };
                if !same {
                    out.push(format!(
                        "{kind} {name} {heading}: kubectl prints {theirs:?}, graylane {own:?}"
                    ));
                }
            }
        }
    }
    // Apps, lanes, a group, baselines: cells that both print.
    if compared < 20 {
        out.push(format!("only {compared} cells stand in both tables"));
    }
    let environments: Value =
        serde_json::from_str(&demo.ok(&["get", "environments", "-o", "json"]).await).unwrap();
    for row in environments["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["spec"]["namespace"] == "demo")
    {
        let (app, environment) = (row["app"].as_str().unwrap(), row["name"].as_str().unwrap());
        let object = objects
            .iter()
            .find(|o| o["kind"] == "App" && name(o) == app)
            .unwrap();
        let said = &object["status"]["environments"][environment];
        for field in ["state", "version", "images", "release"] {
            let own = &row["status"][field];
            let nothing =
                said[field].is_null() && (own.is_null() || *own == json!({}) || own == "New");
            if said[field] != *own && !nothing {
                out.push(format!(
                    "{app}/{environment} {field}: kubectl {}, graylane {own}",
                    said[field]
                ));
            }
        }
        let ready = of(printed, "deployment.apps", &format!("{app}-{environment}"))("READY");
        let own = format!("{}/{}", row["ready"], row["replicas"]);
        if own != ready && !(ready == "(no row)" && own == "0/0") {
            out.push(format!(
                "{app}/{environment} READY: kubectl prints {ready}, graylane {own}"
            ));
        }
    }
    out
}
