//! Tables of requests with what a real API server answered to each (`UPDATE_CONFORMANCE=1` asks one anew): what is
//! refused, in which words, and what is made of what is taken.
//!
//! `@ METHOD PATH BODY` is what the lines below it change by JSON pointers, each by itself and asked without effect;
//! after `->` stand the parts of a good answer that are compared. `> METHOD PATH [TYPE BODY]` is a whole request, with
//! its effect, and `~` before either compares no words. Answers are indented.

use std::{fmt::Write, fs, path::PathBuf};

use http::{Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use regex::Regex;
use serde_json::Value;

use super::cluster::{Kind, Place, cases};

cases!(requests);

const LONGEST: usize = 600;

async fn requests(at: Place) {
    let mut wrong = String::new();
    for table in ["deployments", "services", "others", "pods", "requests"] {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/conformance/requests/{table}.txt"));
        let recorded = fs::read_to_string(&file).unwrap();
        let answered = answer(&at, &recorded).await;
        if at.kind == Kind::Real && std::env::var_os("UPDATE_CONFORMANCE").is_some() {
            fs::write(&file, &answered).unwrap();
        } else if let Ok(dir) = std::env::var("CONFORMANCE_ANSWERED") {
            fs::write(PathBuf::from(dir).join(format!("{table}.txt")), &answered).unwrap();
        }
        let diff = similar::TextDiff::from_lines(recorded.as_str(), answered.as_str());
        write!(
            wrong,
            "{}",
            diff.unified_diff()
                .context_radius(1)
                .header(table, "answered")
        )
        .unwrap();
    }
    if at.kind == Kind::Pocket {
        assert!(
            wrong.is_empty(),
            "pocket differs from what a real API server said:\n{wrong}"
        );
    }
}

/// The table with the answers of this server.
async fn answer(at: &Place, table: &str) -> String {
    let (mut out, mut base) = (
        String::new(),
        ("POST".to_owned(), String::new(), Value::Null),
    );
    for line in table
        .lines()
        .filter(|l| !l.starts_with("    ") && !l.trim().is_empty())
    {
        writeln!(out, "{line}").unwrap();
        let (quiet, line) = line
            .strip_prefix("~ ")
            .map_or((false, line), |rest| (true, rest));
        if line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("@ ") {
            let (method, rest) = rest.split_once(' ').unwrap();
            let (path, body) = rest.split_at(rest.find(" {").unwrap());
            let body = body.replace("\"NS\"", &format!("{:?}", at.namespace));
            base = (
                method.to_owned(),
                path.to_owned(),
                serde_json::from_str(&body).unwrap(),
            );
            continue;
        }
        let told = if let Some(rest) = line.strip_prefix("> ") {
            let (method, rest) = rest.split_once(' ').unwrap();
            let (path, typed) = rest
                .find(" application/")
                .map_or((rest, ""), |n| (&rest[..n], &rest[n + 1..]));
            let (kind, body) = typed.split_once(' ').unwrap_or_default();
            ask(at, method, path, kind, body.to_owned(), &[], quiet).await
        } else {
            let (changes, parts) = line.split_once(" -> ").unwrap_or((line, ""));
            let mut body = base.2.clone();
            for change in changes.split(" ; ").filter(|c| *c != "-") {
                let (pointer, value) = change.split_once(' ').unwrap();
                set(&mut body, pointer, serde_json::from_str(value).unwrap());
            }
            let (path, parts): (_, Vec<&str>) =
                (format!("{}?dryRun=All", base.1), parts.split(' ').collect());
            ask(
                at,
                &base.0,
                &path,
                "application/json",
                body.to_string(),
                &parts,
                quiet,
            )
            .await
        };
        out.push_str(&told);
    }
    out
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let mut at = body;
    for step in parent.split('/').skip(1) {
        at = match at {
            Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
            at => &mut at[step],
        };
    }
    match at {
        Value::Array(list) if last.parse() == Ok(list.len()) => list.push(value),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        at => at[last] = value,
    }
}

async fn ask(
    at: &Place,
    method: &str,
    path: &str,
    kind: &str,
    body: String,
    parts: &[&str],
    quiet: bool,
) -> String {
    let path = match (path.starts_with('/'), path.split_once(' ')) {
        (true, _) => path.to_owned(),
        (false, Some((group, rest))) => format!("/apis/{group}/namespaces/{}/{rest}", at.namespace),
        (false, None) => format!("/api/v1/namespaces/{}/{path}", at.namespace),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::USER_AGENT, "conformance/1");
    if !kind.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let response = at
        .client
        .send(request.body(Body::from(body.into_bytes())).unwrap())
        .await
        .unwrap();
    let code = response.status().as_u16();
    let warnings: Vec<String> = response
        .headers()
        .get_all(header::WARNING)
        .iter()
        .map(|w| w.to_str().unwrap().to_owned())
        .collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut line = if code < 300 {
        let parts = parts.iter().filter(|p| !p.is_empty());
        parts.fold(code.to_string(), |line, part| {
            let mut value = answer.pointer(part).cloned().unwrap_or_default();
            value.sort_all_objects();
            format!("{line} {}", tidy(at, &value.to_string()))
        })
    } else {
        let reason = answer["reason"].as_str().unwrap_or_default();
        let words = if quiet {
            String::new()
        } else {
            tidy(at, answer["message"].as_str().unwrap_or_default())
        };
        format!("{code} {reason}: {words}")
    };
    line = format!("    {}\n", line.trim_end().replace('\n', "\\n"));
    for warning in warnings {
        writeln!(line, "    Warning: {}", tidy(at, &warning)).unwrap();
    }
    line
}

/// Without what is of this run alone.
fn tidy(at: &Place, text: &str) -> String {
    let uid = Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let time = Regex::new(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    let text = text.replace(&at.namespace, "NS");
    let text = uid.replace_all(&text, "UID");
    let mut text = time.replace_all(&text, "TIME").into_owned();
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(" ...");
    }
    text
}
