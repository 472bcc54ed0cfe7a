//! Reads files into objects that know their file and line.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use color_eyre::eyre::{Result, WrapErr};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::locate;
use crate::cli::session::usage_error;

/// One object from a file.
pub(super) struct ManifestObject {
    file: Arc<str>,
    text: Arc<str>,
    /// Line where the object begins, counted from 1.
    line: usize,
    pub(super) value: Value,
}

impl ManifestObject {
    pub(super) fn gvk(&self) -> GroupVersionKind {
        let api_version = self.value["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        GroupVersionKind::gvk(
            group,
            version,
            self.value["kind"].as_str().unwrap_or_default(),
        )
    }

    /// Kind and name, as `deployment/web`.
    pub(super) fn short_name(&self) -> String {
        let name = self.value["metadata"]["name"].as_str().unwrap_or_default();
        format!("{}/{name}", self.gvk().kind.to_lowercase())
    }

    /// `file:line` of a field, or of its nearest parent that is in the file.
    pub(super) fn source_location(&self, path: &str) -> String {
        format!(
            "{}:{}",
            self.file,
            locate::line_of_path(&self.text, self.line, path)
        )
    }

    /// Sort key for applying: objects that others need come first.
    pub(super) fn apply_order(&self) -> u8 {
        match self.value["kind"].as_str() {
            Some("Namespace") => 0,
            Some("CustomResourceDefinition") => 1,
            _ => 2,
        }
    }

    #[cfg(test)]
    pub(super) fn from_text(text: &str) -> Self {
        let document = kube_yaml::read_objects("f", text).unwrap().remove(0);
        Self {
            file: "f".into(),
            text: text.into(),
            line: document.line,
            value: document.value,
        }
    }
}

/// All objects of the files and folders, and the errors found while reading them.
pub(super) fn read_files(paths: &[PathBuf]) -> Result<(Vec<ManifestObject>, Vec<String>)> {
    let mut objects = vec![];
    let mut problems = vec![];
    for path in paths {
        let files = if path.is_dir() {
            list_manifests(path)?
        } else {
            vec![path.clone()]
        };
        if files.is_empty() {
            return Err(usage_error(format!(
                "{}: no .yaml, .yml or .json file in this folder",
                path.display()
            )));
        }
        for file in files {
            match read_text(&file) {
                Ok(content) => parse_documents(
                    &file.display().to_string(),
                    &content,
                    &mut objects,
                    &mut problems,
                ),
                Err(why) => problems.push(format!("{why:#}")),
            }
        }
    }
    Ok((objects, problems))
}

fn parse_documents(
    label: &str,
    content: &str,
    objects: &mut Vec<ManifestObject>,
    problems: &mut Vec<String>,
) {
    match kube_yaml::read_objects(label, content) {
        Ok(documents) => {
            let (file, text): (Arc<str>, Arc<str>) = (label.into(), content.into());
            objects.extend(documents.into_iter().map(|d| ManifestObject {
                file: file.clone(),
                text: text.clone(),
                line: d.line,
                value: without_empty_namespace(d.value),
            }));
        }
        Err(errors) => problems.extend(errors.iter().map(ToString::to_string)),
    }
}

/// An empty `namespace` means the namespace of the session, as in kubectl.
fn without_empty_namespace(mut value: Value) -> Value {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && meta
            .get("namespace")
            .is_some_and(|n| n.is_null() || n == "")
    {
        meta.shift_remove("namespace");
    }
    value
}

fn read_text(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut content = String::new();
        std::io::stdin()
            .read_to_string(&mut content)
            .wrap_err("stdin")?;
        return Ok(content);
    }
    let bytes = std::fs::read(file).wrap_err_with(|| file.display().to_string())?;
    String::from_utf8(bytes).wrap_err_with(|| file.display().to_string())
}

fn list_manifests(path: &Path) -> Result<Vec<PathBuf>> {
    let is_manifest = |p: &PathBuf| {
        matches!(
            p.extension().and_then(|e| e.to_str()),
            Some("yaml" | "yml" | "json")
        )
    };
    let entries = std::fs::read_dir(path).wrap_err_with(|| path.display().to_string())?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(is_manifest)
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_namespace_is_none() {
        for (namespace, left) in [
            ("''", None),
            ("\"\"", None),
            ("", None),
            ("~", None),
            ("demo", Some("demo")),
        ] {
            let (mut objects, mut problems) = (vec![], vec![]);
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {namespace}}}\n"
            );
            parse_documents("f", &text, &mut objects, &mut problems);
            assert_eq!(
                (
                    objects[0].value["metadata"]["namespace"].as_str(),
                    problems.len()
                ),
                (left, 0),
                "{text}"
            );
            assert_eq!(
                objects[0].value["metadata"].as_object().map(|m| m.len()),
                Some(1 + usize::from(left.is_some()))
            );
        }
    }
}
