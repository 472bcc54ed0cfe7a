//! Puts placeholders into an object and writes the template text. Unique words mark the
//! placeholders while the object is serialized to YAML; then they are replaced by Go template
//! actions, so that the YAML serializer never sees template braces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{LANE, SUFFIX, bare::items, keys::of_environment};
use crate::{api::label, domain::yaml};

pub(super) struct Holes {
    /// Prefix of the markers; occurs in no object.
    word: String,
    actions: Vec<String>,
}

impl Holes {
    pub(super) fn new(objects: &[&Value]) -> Self {
        let text: String = objects.iter().map(ToString::to_string).collect();
        let mut word = "graylanehole".to_owned();
        while text.contains(&word) {
            word.push('x');
        }
        Self {
            word,
            actions: vec![],
        }
    }

    fn hole(&mut self, action: impl Into<String>) -> String {
        let action = action.into();
        let at = self
            .actions
            .iter()
            .position(|a| *a == action)
            .unwrap_or_else(|| {
                self.actions.push(action);
                self.actions.len() - 1
            });
        format!("{}{at}z", self.word)
    }

    /// `NAME-prod` becomes `NAME-{{ .AppStack.envName }}`; any other name gets the suffix.
    fn named(&mut self, name: &str, environment: &str) -> String {
        let text = match of_environment(name, environment) {
            Some(before) => format!("{before}{}", self.hole("{{ .AppStack.envName }}")),
            None => self.suffixed(name),
        };
        self.quoted(name, text)
    }

    fn suffixed(&mut self, name: &str) -> String {
        format!("{name}{}", self.hole(format!("{{{{ .Values.{SUFFIX} }}}}")))
    }

    fn namespace(&mut self, object: &mut Value) {
        let name = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let hole = self.hole("{{ .Values.namespace }}");
        object["metadata"]["namespace"] = self.quoted(&name, hole).into();
    }

    /// Adds quotes if the rendered value would be read as a number or a boolean.
    fn quoted(&self, becomes: &str, text: String) -> String {
        let read = yaml::documents("", &format!("x: {becomes}"));
        let is_text = read.is_ok_and(|all| all.first().is_some_and(|d| d.value["x"].is_string()));
        if is_text {
            text
        } else {
            format!("{0}{text}{0}", self.quote())
        }
    }

    fn quote(&self) -> String {
        format!("{}q", self.word)
    }

    /// Replaces the labels that distinguish the versions, in a map of labels or a selector.
    fn labels(&mut self, map: Option<&mut Value>, environment: &str, keys: &BTreeSet<String>) {
        for (key, value) in map.and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(text) = value.as_str().filter(|_| keys.contains(key)) {
                *value = self.named(text, environment).into();
            }
        }
    }

    /// Puts placeholders into a Deployment. Returns image name to the reference that is running.
    pub(super) fn deployment(
        &mut self,
        object: &mut Value,
        environment: &str,
        keys: &BTreeSet<String>,
    ) -> BTreeMap<String, String> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        object["metadata"]["name"] = self.named(&name, environment).into();
        self.namespace(object);
        if let Some(replicas) = object["spec"].get_mut("replicas") {
            *replicas = self.hole("{{ .Values.replicas }}").into();
        }
        for path in [
            "/metadata/labels",
            "/spec/selector/matchLabels",
            "/spec/template/metadata/labels",
        ] {
            self.labels(object.pointer_mut(path), environment, keys);
        }
        // Pod affinity and anti-affinity apply to pods of the same version.
        if let Some(spec) = object.pointer_mut("/spec/template/spec") {
            self.selectors(spec, environment, keys);
        }
        let lane = self.lane_line();
        if let Some(labels) = object
            .pointer_mut("/spec/template/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.shift_remove(label::SERVICE_TAG);
            labels.insert(lane, "x".into());
        }
        self.images(object)
    }

    fn selectors(&mut self, value: &mut Value, environment: &str, keys: &BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                self.labels(map.get_mut("matchLabels"), environment, keys);
                map.values_mut()
                    .for_each(|v| self.selectors(v, environment, keys));
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|v| self.selectors(v, environment, keys)),
            _ => {}
        }
    }

    fn images(&mut self, object: &mut Value) -> BTreeMap<String, String> {
        let mut images: BTreeMap<String, String> = BTreeMap::new();
        let Some(pod) = object.pointer_mut("/spec/template/spec") else {
            return images;
        };
        let main: Vec<(String, String)> = items(pod.get_mut("containers"))
            .map(|c| (text(c, "name"), text(c, "image")))
            .filter(|(_, image)| !image.is_empty())
            .collect();
        for (name, image) in &main {
            if images.values().any(|i| i == image) {
                continue;
            }
            // A key that templates can use without quoting.
            let word: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            images.insert(
                if main.len() == 1 {
                    "backend".into()
                } else {
                    word
                },
                image.clone(),
            );
        }
        for kind in ["containers", "initContainers"] {
            for container in items(pod.get_mut(kind)) {
                let image = text(container, "image");
                if let Some((name, _)) = images.iter().find(|(_, i)| **i == image) {
                    container.insert(
                        "image".into(),
                        self.hole(format!("{{{{ .AppStack.image.{name} }}}}"))
                            .into(),
                    );
                }
            }
        }
        images
    }

    pub(super) fn service(
        &mut self,
        object: &mut Value,
        environment: &str,
        keys: &BTreeSet<String>,
    ) {
        // Lanes look for a Service named `SERVICE-TAG`.
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        object["metadata"]["name"] = self.suffixed(&name).into();
        self.namespace(object);
        self.labels(object.pointer_mut("/metadata/labels"), environment, keys);
        self.labels(object.pointer_mut("/spec/selector"), environment, keys);
        if let Some(kind) = object["spec"].get_mut("type") {
            // Only the baseline's Service is exposed outside the cluster.
            let word = kind.as_str().unwrap_or_default().to_owned();
            *kind = self
                .hole(format!(
                    "{{{{ if .Values.{LANE} }}}}ClusterIP{{{{ else }}}}{word}{{{{ end }}}}"
                ))
                .into();
        }
    }

    fn lane_line(&self) -> String {
        format!("{}lane", self.word)
    }

    /// Serializes the object and turns the markers into template actions.
    pub(super) fn text(&self, object: &Value) -> Result<String, String> {
        let yaml = serde_saphyr::to_string(object).map_err(|e| e.to_string())?;
        // Escape braces of the object itself; they are no template actions.
        let yaml = yaml.replace("{{", "{{ \"{{\" }}");
        let line = format!("{}: x", self.lane_line());
        let mut out = String::new();
        for text in yaml.lines() {
            let indent = &text[..text.len() - text.trim_start().len()];
            if text.trim() == line {
                let tag = label::SERVICE_TAG;
                out.push_str(&format!("{indent}{{{{- if .Values.{LANE} }}}}\n"));
                out.push_str(&format!(
                    "{indent}{tag}: \"{{{{ .Values.{LANE} }}}}\"\n{indent}{{{{- end }}}}\n"
                ));
            } else {
                out.push_str(text);
                out.push('\n');
            }
        }
        for (at, action) in self.actions.iter().enumerate().rev() {
            out = out.replace(&format!("{}{at}z", self.word), action);
        }
        Ok(out.replace(&self.quote(), "\""))
    }
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
