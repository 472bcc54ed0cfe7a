//! CEL rules of `x-kubernetes-validations`, compiled when the first object is checked.

use std::fmt;
use std::sync::OnceLock;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use super::super::error::FieldError;

/// The rules of one schema.
#[derive(Default)]
pub(crate) struct ValidationRules {
    compiled: OnceLock<Option<CompiledSchema>>,
}

impl fmt::Debug for ValidationRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rules")
    }
}

impl ValidationRules {
    /// Collects violations of the rules by `object`; transition rules also look at `old`.
    pub(crate) fn check_object(
        &self,
        schema: &Value,
        object: &Value,
        old: Option<&Value>,
    ) -> Vec<FieldError> {
        let compile = || has_rules(schema).then(|| compile_schema(schema));
        let Some(compiled) = self.compiled.get_or_init(compile) else {
            return Vec::new();
        };
        let Err(errors) = Validator::new().validate_compiled(compiled, object, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .map(|error| {
                let value = value_at(object, &error.field_path);
                let path = if error.field_path.is_empty() {
                    "<nil>".to_owned()
                } else {
                    error.field_path
                };
                match error.reason.as_deref() {
                    Some("FieldValueForbidden") => FieldError::forbidden(path, error.message),
                    Some("FieldValueRequired") => FieldError::required(path, error.message),
                    _ if value.is_object() || value.is_array() => {
                        FieldError::invalid_whole(path, error.message)
                    }
                    _ => FieldError::invalid(path, value, error.message),
                }
            })
            .collect()
    }
}

/// Most schemas have no rules; then nothing is compiled.
pub(crate) fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key("x-kubernetes-validations") || map.values().any(has_rules)
        }
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

/// The value at `spec.list[0].field`.
fn value_at<'a>(object: &'a Value, path: &str) -> &'a Value {
    let mut value = object;
    for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
        value = match step.strip_suffix(']').and_then(|n| n.parse::<usize>().ok()) {
            Some(index) => &value[index],
            None => &value[step],
        };
    }
    value
}
