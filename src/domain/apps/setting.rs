//! Settings for creating Apps from a template: `[APP:][ENVIRONMENT/]KEY=VALUE`.

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::api::Environment;

/// One value for the environments of new Apps: `.Values.KEY`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// App that it is for. `None` means all new Apps.
    pub app: Option<String>,
    /// Environment that it is for. `None` means all environments.
    pub environment: Option<String>,
    /// Key, used as `{{ .Values.KEY }}`.
    pub key: String,
    /// Value, parsed as YAML: `3` is a number, `"3"` a string.
    pub value: Value,
}

impl Setting {
    /// Whether it applies to this environment.
    pub(super) fn applies_to(&self, environment: &Environment) -> bool {
        self.environment
            .as_ref()
            .is_none_or(|name| *name == environment.name)
    }
}

/// The text is not a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {problem}; write KEY=VALUE, ENVIRONMENT/KEY=VALUE or APP:KEY=VALUE")]
pub struct SettingError {
    /// Text that was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: SettingProblem,
}

/// What is wrong with the text of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    /// Nothing separates key and value.
    #[error("there is no =")]
    NoEquals,
    /// The App, the environment or the key.
    #[error("a name before the = is empty or has blanks around it")]
    Name,
    /// The value cannot be parsed. Holds the YAML parser's message.
    #[error("the value is not YAML ({0}): put a text into quotes")]
    Yaml(String),
    /// The value is more than one YAML document.
    #[error("the value is several YAML documents")]
    SeveralDocuments,
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let wrong = |problem| SettingError {
            text: text.to_owned(),
            problem,
        };
        let (left, written) = text
            .split_once('=')
            .ok_or_else(|| wrong(SettingProblem::NoEquals))?;
        let (app, rest) = left
            .split_once(':')
            .map_or((None, left), |(app, rest)| (Some(app), rest));
        let (environment, key) = rest
            .split_once('/')
            .map_or((None, rest), |(e, key)| (Some(e), key));
        if [app, environment, Some(key)]
            .into_iter()
            .flatten()
            .any(|part| part.trim() != part || part.is_empty())
        {
            return Err(wrong(SettingProblem::Name));
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        let value = parse_value(written).map_err(wrong)?;
        Ok(Self {
            app: owned(app),
            environment: owned(environment),
            key: key.into(),
            value,
        })
    }
}

fn parse_value(written: &str) -> Result<Value, SettingProblem> {
    let mut documents = kube_yaml::read_documents("value", written).map_err(|all| {
        SettingProblem::Yaml(
            all.into_iter()
                .next()
                .map(|e| e.message)
                .unwrap_or_default(),
        )
    })?;
    match (documents.pop(), documents.is_empty(), written.trim()) {
        (Some(only), true, _) => Ok(only.value),
        (None, _, "") => Ok(Value::String(String::new())),
        (None, _, _) => Ok(Value::Null),
        (Some(_), false, _) => Err(SettingProblem::SeveralDocuments),
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(app) = &self.app {
            write!(f, "{app}:")?;
        }
        if let Some(environment) = &self.environment {
            write!(f, "{environment}/")?;
        }
        // JSON is valid YAML. A string that YAML reads back as the same string needs no quotes.
        match &self.value {
            Value::String(text) if parse_value(text).is_ok_and(|v| v == self.value) => {
                write!(f, "{}={text}", self.key)
            }
            other => write!(f, "{}={other}", self.key),
        }
    }
}
