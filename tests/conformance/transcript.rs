//! Requests and what was answered, word for word, as a text of which the recorded form stands in
//! `tests/conformance/recorded`. It was written by a real API server (`UPDATE_CONFORMANCE=1`, never by pocket).
//!
//! What differs between two runs of the same server is named by its first sight: `UID-1`, `RV-3`, `TIME`.

use std::{collections::HashMap, fmt::Write, fs, path::PathBuf};

use http::{Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Map, Value};

use super::cluster::{Kind, Place};

/// Of one string: some refusals repeat a whole object.
const LONGEST: usize = 600;

pub struct Transcript {
    pub at: Place,
    /// Whether nobody else writes the objects: then their versions are told apart.
    alone: bool,
    text: String,
    names: HashMap<String, String>,
}

/// What was answered, as it came.
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    pub fn version(&self) -> String {
        self.body["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// How much of a good answer is written down; a refusal always is, whole.
pub enum Shown<'a> {
    All,
    Nothing,
    /// Only the code and, of a refusal, the reason: its words are those of a library.
    Code,
    /// Of a refusal only the message too.
    Message,
    /// JSON pointers.
    Parts(&'a [&'a str]),
}

impl Transcript {
    pub fn new(at: &Place) -> Self {
        Self {
            at: at.clone(),
            alone: true,
            text: String::new(),
            names: HashMap::new(),
        }
    }

    /// Of objects that controllers write too.
    pub fn beside_controllers(at: &Place) -> Self {
        Self {
            alone: false,
            ..Self::new(at)
        }
    }

    /// The path of a namespaced resource of this case: `configmaps`, `apps/v1 deployments/web`.
    pub fn path(&self, resource: &str) -> String {
        let (base, rest) = match resource.split_once(' ') {
            Some((group, rest)) => (format!("/apis/{group}"), rest),
            None => ("/api/v1".to_owned(), resource),
        };
        format!("{base}/namespaces/{}/{rest}", self.at.namespace)
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.text, "\n## {what}").unwrap();
    }

    /// Asks with a body of that type (none: JSON).
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
        shown: Shown<'_>,
    ) -> Answer {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            self.path(path)
        };
        let (kind, accept) = kind.split_once('|').unwrap_or((kind, ""));
        let kind = if kind.is_empty() {
            "application/json"
        } else {
            kind
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&path)
            .header(header::USER_AGENT, "conformance/1");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if !accept.is_empty() {
            request = request.header(header::ACCEPT, accept);
        }
        let request = request.body(Body::from(body.as_bytes().to_vec())).unwrap();
        let response = self.at.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings: Vec<String> = response
            .headers()
            .get_all(header::WARNING)
            .iter()
            .map(|w| w.to_str().unwrap().to_owned())
            .collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));

        let said = if kind == "application/json" {
            String::new()
        } else {
            format!(" [{kind}]")
        };
        let shown_body = self.tidy(&serde_json::from_str(body).unwrap_or_else(|_| body.into()));
        let shown_path = self.text_of(&path);
        writeln!(
            self.text,
            "\n> {method} {shown_path}{said} {}",
            if body.is_empty() {
                String::new()
            } else {
                shown_body.to_string()
            }
        )
        .unwrap();
        writeln!(self.text, "{code}").unwrap();
        for warning in warnings {
            writeln!(self.text, "Warning: {warning}").unwrap();
        }
        let tidy = self.tidy(&answer);
        match shown {
            Shown::Nothing if code < 300 => {}
            Shown::Code => writeln!(self.text, "{}", tidy["reason"]).unwrap(),
            Shown::Message => {
                writeln!(self.text, "{}: {}", tidy["reason"], tidy["message"]).unwrap();
            }
            Shown::Parts(parts) if code < 300 => {
                for part in parts {
                    writeln!(
                        self.text,
                        "{part}: {}",
                        tidy.pointer(part).unwrap_or(&Value::Null)
                    )
                    .unwrap();
                }
            }
            _ => writeln!(
                self.text,
                "{}",
                serde_json::to_string_pretty(&tidy).unwrap()
            )
            .unwrap(),
        }
        Answer { code, body: answer }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", "", Shown::All).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, "", &body.to_string(), Shown::All)
            .await
    }

    pub async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, "", &body.to_string(), Shown::All)
            .await
    }

    pub async fn delete(&mut self, path: &str, options: Value) -> Answer {
        let body = if options.is_null() {
            String::new()
        } else {
            options.to_string()
        };
        self.ask("DELETE", path, "", &body, Shown::All).await
    }

    /// Something that must be there, and is not the point.
    pub async fn given(&mut self, path: &str, body: Value) -> Answer {
        let answer = self
            .ask("POST", path, "", &body.to_string(), Shown::Nothing)
            .await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        answer
    }

    /// `kind`: merge, json, strategic, apply.
    pub async fn patch(&mut self, kind: &str, path: &str, body: Value, parts: &[&str]) -> Answer {
        let kind = match kind {
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            _ => "application/apply-patch+yaml",
        };
        let shown = if parts.is_empty() {
            Shown::All
        } else {
            Shown::Parts(parts)
        };
        self.ask("PATCH", path, kind, &body.to_string(), shown)
            .await
    }

    fn name(&mut self, kind: &str, value: &str) -> String {
        let next = self.names.values().filter(|n| n.starts_with(kind)).count() + 1;
        self.names
            .entry(format!("{kind}{value}"))
            .or_insert_with(|| format!("{kind}-{next}"))
            .clone()
    }

    fn text_of(&mut self, text: &str) -> String {
        static UID: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
            regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
                .unwrap()
        });
        static TIME: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
            regex::Regex::new(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap()
        });
        static NUMBER: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| regex::Regex::new(r"\(\d+\)").unwrap());
        let mut text = text.replace(&self.at.namespace, "NS");
        while let Some(found) = UID.find(&text).map(|m| m.as_str().to_owned()) {
            let name = self.name("UID", &found);
            text = text.replace(&found, &name);
        }
        let text = TIME.replace_all(&text, "TIME").into_owned();
        let mut text = NUMBER.replace_all(&text, "(N)").into_owned();
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push_str(" ...");
        }
        text
    }

    /// The same value with nothing in it that is of this run alone; fields by name.
    fn tidy(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                let mut out = Map::new();
                let list = map.get("items").is_some();
                for key in keys {
                    let value = &map[key];
                    let tidy = match (key.as_str(), value) {
                        ("resourceVersion", Value::String(rv)) if !rv.is_empty() && rv != "0" => {
                            if self.alone {
                                self.name("RV", rv).into()
                            } else {
                                "RV".into()
                            }
                        }
                        ("clusterIP", Value::String(ip)) if ip != "None" => "IP".into(),
                        ("clusterIPs", Value::Array(ips)) if ips[0] != "None" => "IPS".into(),
                        ("metadata", Value::Object(meta)) if list => {
                            let mut meta = meta.clone();
                            meta.insert("resourceVersion".into(), "LIST".into());
                            if meta.get("continue").is_some_and(|c| c != "") {
                                meta.insert("continue".into(), "TOKEN".into());
                            }
                            let rv = meta.remove("resourceVersion").unwrap();
                            let mut tidy = self.tidy(&Value::Object(meta));
                            tidy["resourceVersion"] = rv;
                            tidy
                        }
                        // An apply that changes nothing has no time, and so another place.
                        ("managedFields", Value::Array(owners)) => {
                            let mut owners: Vec<Value> =
                                owners.iter().map(|o| self.tidy(o)).collect();
                            for owner in &mut owners {
                                owner.as_object_mut().unwrap().remove("time");
                            }
                            owners.sort_by_key(|o| {
                                [&o["operation"], &o["manager"], &o["subresource"]]
                                    .map(Value::to_string)
                            });
                            owners.into()
                        }
                        (_, value) => self.tidy(value),
                    };
                    out.insert(self.text_of(key), tidy);
                }
                Value::Object(out)
            }
            Value::Array(list) => list.iter().map(|v| self.tidy(v)).collect(),
            Value::String(text) => self.text_of(text).into(),
            other => other.clone(),
        }
    }

    /// Compares with what a real API server said.
    pub fn end(self, name: &str) {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/conformance/recorded")
            .join(format!("{name}.txt"));
        if self.at.kind == Kind::Real && std::env::var_os("UPDATE_CONFORMANCE").is_some() {
            fs::write(&file, &self.text).unwrap();
            return;
        }
        if let Ok(dir) = std::env::var("CONFORMANCE_ANSWERED") {
            fs::write(PathBuf::from(dir).join(format!("{name}.txt")), &self.text).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        if recorded != self.text {
            let diff = similar::TextDiff::from_lines(recorded.as_str(), self.text.as_str());
            let diff = diff
                .unified_diff()
                .context_radius(6)
                .header("recorded", "answered")
                .to_string();
            panic!(
                "{name} on {:?} differs from what a real API server said (UPDATE_CONFORMANCE=1 asks one anew):\n{diff}",
                self.at.kind
            );
        }
    }
}
