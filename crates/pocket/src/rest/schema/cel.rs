//! Checks `x-kubernetes-validations` when a definition is created: a rule that can never be
//! evaluated is refused then, as in Kubernetes, and not later with every object. So is a rule that
//! Kubernetes would evaluate and pocket's CEL library cannot. The cost of rules, which Kubernetes
//! limits, is not estimated.

use serde_json::Value;

use self::{
    check::{CheckResult, Scope},
    types::CelType,
};
use super::super::error::FieldError;

mod check;
mod functions;
mod types;

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Collects all problems with the rules of a version's schema, which is at `path`.
pub(in super::super) fn check_rules(schema: &Value, path: &str, problems: &mut Vec<FieldError>) {
    RuleChecker { problems }.check_node(schema, path, true, None);
}

struct RuleChecker<'a> {
    problems: &'a mut Vec<FieldError>,
}

impl RuleChecker<'_> {
    /// `uncorrelated`: the enclosing list or map whose items cannot be matched before and after a
    /// change.
    fn check_node(&mut self, schema: &Value, path: &str, root: bool, uncorrelated: Option<&str>) {
        if let Some(rules) = schema["x-kubernetes-validations"].as_array() {
            let root = root || super::is_set(schema, "x-kubernetes-embedded-resource");
            let own = CelType::from_schema(schema, root);
            for (at, rule) in rules.iter().enumerate() {
                let path = format!("{path}.x-kubernetes-validations[{at}]");
                self.check_wording(rule, &path);
                if let Some(own) = &own {
                    self.check_expressions(rule, own, &path, uncorrelated);
                } else {
                    let words =
                        "the type of the validated value is not known: give its schema a type";
                    self.problems.push(FieldError::invalid(
                        format!("{path}.rule"),
                        &rule["rule"],
                        words,
                    ));
                }
            }
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let atomic = schema["x-kubernetes-map-type"] == "atomic";
            let uncorrelated = uncorrelated.or(atomic.then_some(path));
            self.check_node(
                inner,
                &format!("{path}.properties[{name}]"),
                false,
                uncorrelated,
            );
        }
        if schema["items"].is_object() {
            let keyed = schema["x-kubernetes-list-type"] == "map";
            let uncorrelated = uncorrelated.or((!keyed).then_some(path));
            self.check_node(
                &schema["items"],
                &format!("{path}.items"),
                false,
                uncorrelated,
            );
        }
        if schema["additionalProperties"].is_object() {
            let atomic = schema["x-kubernetes-map-type"] == "atomic";
            let uncorrelated = uncorrelated.or(atomic.then_some(path));
            let path = format!("{path}.additionalProperties");
            self.check_node(&schema["additionalProperties"], &path, false, uncorrelated);
        }
    }

    fn check_wording(&mut self, rule: &Value, path: &str) {
        let text = |field: &str| rule[field].as_str();
        let blank = |field: &str| text(field).is_some_and(|t| !t.is_empty() && t.trim().is_empty());
        let mut refuse = |problem| self.problems.push(problem);
        if text("rule").is_none_or(|t| t.trim().is_empty()) {
            refuse(FieldError::required(
                format!("{path}.rule"),
                "rule is not specified",
            ));
        }
        let invalid = |field: &str, words| {
            FieldError::invalid(format!("{path}.{field}"), &rule[field], words)
        };
        for field in ["message", "fieldPath"] {
            if blank(field) {
                refuse(invalid(field, "must be non-empty if specified"));
            } else if text(field).is_some_and(|t| t.trim().contains('\n')) {
                refuse(invalid(field, "must not contain line breaks"));
            }
        }
        if text("message").is_none_or(str::is_empty)
            && text("rule").is_some_and(|t| t.trim().contains('\n'))
        {
            let words = "message must be specified if rule contains line breaks";
            refuse(FieldError::required(format!("{path}.message"), words));
        }
        if blank("messageExpression") {
            let words = "messageExpression must be non-empty if specified";
            refuse(FieldError::required(
                format!("{path}.messageExpression"),
                words,
            ));
        }
        if text("reason").is_some_and(|r| !REASONS.contains(&r)) {
            refuse(FieldError::not_supported(
                format!("{path}.reason"),
                &rule["reason"],
                &REASONS,
            ));
        }
    }

    fn check_expressions(
        &mut self,
        rule: &Value,
        own: &CelType,
        path: &str,
        uncorrelated: Option<&str>,
    ) {
        let text = rule["rule"].as_str().unwrap_or_default();
        if text.trim().is_empty() {
            return;
        }
        let mut scope = Scope::new([("self", own.clone()), ("oldSelf", own.clone())]);
        let mut refuse = |field: &str, words: String| {
            self.problems.push(FieldError::invalid(
                format!("{path}.{field}"),
                &rule[field],
                words,
            ));
        };
        if let Some(words) =
            type_problem(scope.check_expression_text(text), "bool", "cel expression")
        {
            refuse("rule", words);
        }
        if let Some(message) = rule["messageExpression"]
            .as_str()
            .filter(|m| !m.trim().is_empty())
            && let Some(words) = type_problem(
                scope.check_expression_text(message),
                "string",
                "messageExpression",
            )
        {
            refuse(
                "messageExpression",
                words.replacen("compilation", "messageExpression compilation", 1),
            );
        }
        let transition = names_old_self(text);
        if let (true, Some(above)) = (transition, uncorrelated) {
            let words = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"
            );
            refuse("rule", words);
        }
        if let Some(words) = optional_problem(&rule["optionalOldSelf"], transition) {
            refuse("optionalOldSelf", words.to_owned());
        }
    }
}

fn names_old_self(text: &str) -> bool {
    kube_cel::cel::Program::compile(text).is_ok_and(|p| p.references().has_variable("oldSelf"))
}

/// What is wrong with an expression that must be of a simple type.
fn type_problem(checked: CheckResult, wanted: &str, what: &str) -> Option<String> {
    match checked {
        Err(why) => Some(format!("compilation failed: {why}")),
        Ok(of) if of.is_simple(wanted) || !of.is_known() => None,
        Ok(_) => Some(format!("{what} must evaluate to a {wanted}")),
    }
}

/// What is wrong with `optionalOldSelf` of a rule that does, or does not, name `oldSelf`.
fn optional_problem(optional: &Value, transition: bool) -> Option<&'static str> {
    match optional.as_bool() {
        Some(_) if !transition => Some("may not be set if oldSelf is not used in rule"),
        Some(true) => Some(
            "pocket's CEL does not evaluate an optional oldSelf; a full Kubernetes API server does",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
