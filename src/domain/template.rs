//! Renders manifests as Go `text/template`, the way AppStack does. Missing keys, unclosed blocks
//! and unknown functions are errors with a position, and all errors are reported at once.
//!
//! Go is the reference: the lexer (`lex`, `literal`), the grammar (`parse`), execution (`exec`),
//! printing (`format`) and the functions behave like Go's and Sprig's, and reject what they reject.
//! Deliberate differences are listed in a table in `docs/manifests.md`. During rendering, `origin` records
//! which part of the template wrote which output, so that a YAML error in the result is reported at
//! the template's line. A budget of steps, depth and output stops runaway templates.

mod characters;
mod exec;
mod format;
mod function_error;
mod functions;
mod lex;
mod literal;
mod missing_spaces;
mod origin;
mod parse;
mod placeholders;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub use placeholders::{Placeholder, find_placeholders};

use super::variables::Values;
use crate::api::Environment;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Data that a template can read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    /// `.AppStack.appName`
    pub app: String,
    /// `.AppStack.envName`
    pub environment: String,
    /// `.AppStack.namespace`, and `.Values.namespace` unless a value overrides it.
    pub namespace: String,
    /// `.AppStack.image.<name>`
    pub images: BTreeMap<String, String>,
    /// `.Values.<name>`
    pub values: Values,
    /// `.Build.<name>`; set only for the Job of a build.
    pub build: BTreeMap<String, String>,
}

impl Context {
    /// Data for an App's templates in one of its environments; `shared` holds the values that come
    /// from its variable groups.
    pub fn for_environment(
        app: &str,
        environment: &Environment,
        shared: &Values,
        images: BTreeMap<String, String>,
    ) -> Self {
        let mut values = shared.clone();
        values.extend(environment.values.clone());
        Self {
            app: app.into(),
            environment: environment.name.clone(),
            namespace: environment.namespace.clone(),
            images,
            values,
            build: BTreeMap::new(),
        }
    }

    fn template_data(&self) -> Value {
        let mut values: Map<String, Value> = Map::new();
        values.insert("namespace".into(), self.namespace.as_str().into());
        values.extend(self.values.iter().map(|(k, v)| (k.clone(), v.clone())));
        let mut app_stack = json!({
            "appName": self.app,
            "envName": self.environment,
            "namespace": self.namespace,
            "image": self.images,
        });
        // AppStack's older spelling of `.Values.replicas`.
        if let Some(replicas) = values.get("replicas") {
            app_stack["replicas"] = replicas.clone();
        }
        let mut data = json!({"AppStack": app_stack, "Values": values});
        if !self.build.is_empty() {
            data["Build"] = json!(self.build);
        }
        data
    }
}

/// An error in a template, with its position and a suggested fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The template's name.
    pub template: String,
    /// Line in the template's source, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Line in the rendered text, from 1, when the error was found there.
    pub rendered_line: Option<usize>,
    pub message: String,
    /// Suggested fix.
    pub help: Option<String>,
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.template, self.line, self.column, self.message
        )?;
        if let Some(line) = self.rendered_line {
            write!(f, " (line {line} of the rendered manifest)")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

/// A problem at a byte offset of the source, not yet converted to line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    offset: usize,
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(offset: usize, message: impl Into<String>) -> Problem {
        Problem {
            offset,
            message: message.into(),
            help: None,
        }
    }

    fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Converts problems to errors, sorted by position and without duplicates.
fn to_template_errors(name: &str, source: &str, mut problems: Vec<Problem>) -> Vec<TemplateError> {
    problems.sort();
    problems.dedup();
    let place = |problem: Problem| {
        let (line, column) = line_column(source, problem.offset);
        TemplateError {
            template: name.to_owned(),
            line,
            column,
            rendered_line: None,
            message: problem.message,
            help: problem.help,
        }
    };
    problems.into_iter().map(place).collect()
}

fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(offset)];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[start..].chars().count() + 1,
    )
}

/// Renders a template, or returns every error in it.
pub fn render(name: &str, source: &str, context: &Context) -> Result<String, Vec<TemplateError>> {
    let done = parse::parse_template(source)
        .and_then(|parsed| exec::run_template(source, &parsed, context));
    done.map(|rendered| rendered.text)
        .map_err(|problems| to_template_errors(name, source, problems))
}

/// Renders a template and returns the Kubernetes objects in it, in order. YAML errors are reported
/// at the template line that wrote the YAML.
pub fn render_manifests(
    name: &str,
    source: &str,
    context: &Context,
) -> Result<Vec<Value>, Vec<TemplateError>> {
    let done = parse::parse_template(source)
        .and_then(|parsed| exec::run_template(source, &parsed, context));
    let done = done.map_err(|problems| to_template_errors(name, source, problems))?;
    let objects = kube_yaml::read_objects(name, &done.text).map_err(|found| {
        let place = |error: kube_yaml::YamlError| {
            let (line, column) = line_column(source, done.source_of(error.line, error.column));
            TemplateError {
                template: name.to_owned(),
                line,
                column,
                rendered_line: Some(error.line),
                message: error.message,
                help: None,
            }
        };
        found.into_iter().map(place).collect::<Vec<_>>()
    })?;
    Ok(objects.into_iter().map(|document| document.value).collect())
}
