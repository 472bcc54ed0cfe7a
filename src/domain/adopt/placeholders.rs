//! Puts placeholders into an object and writes the template text. Unique words mark the
//! placeholders while the object is serialized to YAML; then they are replaced by Go template
//! actions, so that the YAML serializer never sees template braces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{LANE, SUFFIX, label_keys::strip_environment, strip_defaults::object_items};
use crate::api::label;

pub(super) struct Placeholders {
    /// Prefix of the markers; occurs in no object.
    word: String,
    actions: Vec<String>,
}

impl Placeholders {
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

    fn placeholder_for(&mut self, action: impl Into<String>) -> String {
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
    fn template_name(&mut self, name: &str, environment: &str) -> String {
        let text = match strip_environment(name, environment) {
            Some(before) => format!(
                "{before}{}",
                self.placeholder_for("{{ .AppStack.envName }}")
            ),
            None => self.append_suffix(name),
        };
        self.quote_if_needed(name, text)
    }

    fn append_suffix(&mut self, name: &str) -> String {
        format!(
            "{name}{}",
            self.placeholder_for(format!("{{{{ .Values.{SUFFIX} }}}}"))
        )
    }

    pub(super) fn template_namespace(&mut self, object: &mut Value) {
        let name = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let hole = self.placeholder_for("{{ .Values.namespace }}");
        object["metadata"]["namespace"] = self.quote_if_needed(&name, hole).into();
    }

    /// Adds quotes if the rendered value would be read as a number or a boolean.
    fn quote_if_needed(&self, becomes: &str, text: String) -> String {
        let read = kube_yaml::read_documents("", &format!("x: {becomes}"));
        let is_text = read.is_ok_and(|all| all.first().is_some_and(|d| d.value["x"].is_string()));
        if is_text {
            text
        } else {
            format!("{0}{text}{0}", self.quote_marker())
        }
    }

    fn quote_marker(&self) -> String {
        format!("{}q", self.word)
    }

    /// Replaces the labels that distinguish the versions, in a map of labels or a selector.
    fn template_labels(
        &mut self,
        map: Option<&mut Value>,
        environment: &str,
        keys: &BTreeSet<String>,
    ) {
        for (key, value) in map.and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(text) = value.as_str().filter(|_| keys.contains(key)) {
                *value = self.template_name(text, environment).into();
            }
        }
    }

    /// Puts placeholders into a Deployment. Returns image name to the reference that is running.
    pub(super) fn template_deployment(
        &mut self,
        object: &mut Value,
        environment: &str,
        keys: &BTreeSet<String>,
    ) -> BTreeMap<String, String> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        object["metadata"]["name"] = self.template_name(&name, environment).into();
        self.template_namespace(object);
        if let Some(replicas) = object["spec"].get_mut("replicas") {
            *replicas = self.placeholder_for("{{ .Values.replicas }}").into();
        }
        for path in [
            "/metadata/labels",
            "/spec/selector/matchLabels",
            "/spec/template/metadata/labels",
        ] {
            self.template_labels(object.pointer_mut(path), environment, keys);
        }
        // Pod affinity and anti-affinity apply to pods of the same version.
        if let Some(spec) = object.pointer_mut("/spec/template/spec") {
            self.template_selectors(spec, environment, keys);
        }
        let lane = self.lane_line();
        if let Some(labels) = object
            .pointer_mut("/spec/template/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.shift_remove(label::SERVICE_TAG);
            labels.insert(lane, "x".into());
        }
        self.template_images(object)
    }

    fn template_selectors(
        &mut self,
        value: &mut Value,
        environment: &str,
        keys: &BTreeSet<String>,
    ) {
        match value {
            Value::Object(map) => {
                self.template_labels(map.get_mut("matchLabels"), environment, keys);
                map.values_mut()
                    .for_each(|v| self.template_selectors(v, environment, keys));
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|v| self.template_selectors(v, environment, keys)),
            _ => {}
        }
    }

    fn template_images(&mut self, object: &mut Value) -> BTreeMap<String, String> {
        let mut images: BTreeMap<String, String> = BTreeMap::new();
        let Some(pod) = object.pointer_mut("/spec/template/spec") else {
            return images;
        };
        let main: Vec<(String, String)> = object_items(pod.get_mut("containers"))
            .map(|c| (string_field(c, "name"), string_field(c, "image")))
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
            for container in object_items(pod.get_mut(kind)) {
                let image = string_field(container, "image");
                if let Some((name, _)) = images.iter().find(|(_, i)| **i == image) {
                    container.insert(
                        "image".into(),
                        self.placeholder_for(format!("{{{{ .AppStack.image.{name} }}}}"))
                            .into(),
                    );
                }
            }
        }
        images
    }

    pub(super) fn template_service(
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
        object["metadata"]["name"] = self.append_suffix(&name).into();
        self.template_namespace(object);
        self.template_labels(object.pointer_mut("/metadata/labels"), environment, keys);
        self.template_labels(object.pointer_mut("/spec/selector"), environment, keys);
        if let Some(kind) = object["spec"].get_mut("type") {
            // Only the baseline's Service is exposed outside the cluster.
            let word = kind.as_str().unwrap_or_default().to_owned();
            *kind = self
                .placeholder_for(format!(
                    "{{{{ if .Values.{LANE} }}}}ClusterIP{{{{ else }}}}{word}{{{{ end }}}}"
                ))
                .into();
        }
    }

    fn lane_line(&self) -> String {
        format!("{}lane", self.word)
    }

    /// Serializes the object and turns the markers into template actions.
    pub(super) fn to_template_text(
        &self,
        object: &Value,
    ) -> Result<String, serde_saphyr::ser::Error> {
        let yaml = serde_saphyr::to_string(object)?;
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
        Ok(out.replace(&self.quote_marker(), "\""))
    }
}

fn string_field(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
