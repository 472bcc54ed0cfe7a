//! Refusals with the texts of a Kubernetes API server: code, reason, message, causes.

use http::StatusCode;
use serde_json::{Value, json};

use super::meta;
use super::registry::Resource;
use crate::store::{TooOld, WriteError};

/// A `Status` with `status: Failure`.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    /// Null when there are none.
    pub details: Value,
}

pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    /// The path does not exist.
    pub fn no_such_path() -> ApiError {
        let message = "the server could not find the requested resource";
        let mut error = ApiError::new(StatusCode::NOT_FOUND, "NotFound", message);
        error.details = json!({});
        error
    }

    pub fn not_found(resource: &Resource, name: &str) -> ApiError {
        let message = format!("{} \"{name}\" not found", resource.qualified_name());
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", message).with_details(resource, name)
    }

    pub fn already_exists(resource: &Resource, name: &str) -> ApiError {
        let message = format!("{} \"{name}\" already exists", resource.qualified_name());
        ApiError::new(StatusCode::CONFLICT, "AlreadyExists", message).with_details(resource, name)
    }

    pub fn conflict(resource: &Resource, name: &str, why: &str) -> ApiError {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.qualified_name()
        );
        ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_details(resource, name)
    }

    /// Conflict on something that is not a resource itself, such as `pods/binding`.
    pub fn conflict_of(what: &str, name: &str, why: &str) -> ApiError {
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        let mut error = ApiError::new(StatusCode::CONFLICT, "Conflict", message);
        error.details = json!({"name": name, "kind": what});
        error
    }

    /// Conflict where Kubernetes names the kind instead of the resource.
    pub fn conflict_of_kind(resource: &Resource, name: &str, why: &str) -> ApiError {
        let qualified = match resource.group.as_str() {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        let mut error =
            ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_details(resource, name);
        error.details["kind"] = resource.kind.as_str().into();
        error
    }

    pub fn modified(resource: &Resource, name: &str) -> ApiError {
        ApiError::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> ApiError {
        let message = format!(
            "{} \"{name}\" is forbidden: {why}",
            resource.qualified_name()
        );
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message).with_details(resource, name)
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// Problem with request options of the given kind, such as `DeleteOptions`.
    pub fn bad_options(kind: &str, problem: FieldError) -> ApiError {
        ApiError::invalid("meta.k8s.io", kind, "", &[problem])
    }

    /// Kubernetes serves this, pocket does not.
    pub fn not_served(what: &str) -> ApiError {
        let message = format!("pocket does not serve {what}");
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub fn method_not_allowed() -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        let mut error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message);
        error.details = json!({});
        error
    }

    pub fn unsupported_media_type(wanted: &[&str]) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            wanted.join(", ")
        );
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    pub fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::GONE, "Expired", message)
    }

    pub fn invalid(group: &str, kind: &str, name: &str, problems: &[FieldError]) -> ApiError {
        // Identical texts appear once.
        let mut words: Vec<String> = Vec::new();
        for problem in problems.iter().map(FieldError::to_string) {
            if !words.contains(&problem) {
                words.push(problem);
            }
        }
        let list = match words.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = match group {
            "" => kind.to_owned(),
            group => format!("{kind}.{group}"),
        };
        let causes: Vec<Value> = problems
            .iter()
            .map(|p| json!({"reason": p.reason, "message": p.format_body(), "field": p.field}))
            .collect();
        let mut error = ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{qualified} \"{name}\" is invalid: {list}"),
        );
        error.details = json!({"name": name, "kind": kind, "causes": causes});
        if name.is_empty() {
            meta::remove_field(&mut error.details, "name");
        }
        if !group.is_empty() {
            error.details["group"] = group.into();
        }
        error
    }

    fn with_details(mut self, resource: &Resource, name: &str) -> ApiError {
        self.details = json!({"name": name, "kind": resource.plural});
        if !resource.group.is_empty() {
            self.details["group"] = resource.group.as_str().into();
        }
        self
    }

    pub fn to_status(&self) -> Value {
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if self.reason.is_empty() {
            meta::remove_field(&mut body, "reason");
        }
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        body["code"] = self.code.as_u16().into();
        body
    }
}

impl From<TooOld> for ApiError {
    fn from(old: TooOld) -> ApiError {
        ApiError::expired(old.to_string())
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        match error {
            WriteError::Closed => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "pocket is shutting down",
            ),
            other => ApiError::internal(other.to_string()),
        }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.format_body())
    }
}

/// One problem with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub field: String,
    pub reason: &'static str,
    value: Option<Value>,
    detail: String,
}

impl FieldError {
    fn new(
        field: impl Into<String>,
        reason: &'static str,
        value: Option<&Value>,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError {
            field: field.into(),
            reason,
            value: value.cloned(),
            detail: detail.into(),
        }
    }

    /// Replaces the value that the message shows.
    pub(super) fn set_value(&mut self, value: &Value) {
        self.value = Some(value.clone());
    }

    /// What is wrong, without the field and its value.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(field, "FieldValueRequired", None, detail)
    }

    pub fn invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::new(field, "FieldValueInvalid", Some(value), detail)
    }

    /// Problem with a whole object or list, whose value is not shown.
    pub fn invalid_whole(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(field, "FieldValueInvalid", None, detail)
    }

    pub fn type_invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError::new(field, "FieldValueTypeInvalid", Some(value), detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(field, "FieldValueForbidden", None, detail)
    }

    /// What a name refers to does not exist; `detail` says what does.
    pub fn not_found_with_detail(
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> FieldError {
        FieldError {
            detail: detail.into(),
            ..FieldError::not_found(field, value)
        }
    }

    pub fn not_found(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, "FieldValueNotFound", Some(value), "")
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, "FieldValueDuplicate", Some(value), "")
    }

    pub fn not_supported(
        field: impl Into<String>,
        value: &Value,
        supported: &[&str],
    ) -> FieldError {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        FieldError::new(field, "FieldValueNotSupported", Some(value), detail)
    }

    pub fn too_long(field: impl Into<String>, most: u64) -> FieldError {
        let detail = format!("may not be more than {most} bytes");
        FieldError::new(field, "FieldValueTooLong", None, detail)
    }

    pub fn too_many(field: impl Into<String>, got: usize, most: u64) -> FieldError {
        let detail = format!("{got}: must have at most {most} items");
        FieldError::new(field, "FieldValueTooMany", None, detail)
    }

    fn format_body(&self) -> String {
        let what = match self.reason {
            "FieldValueRequired" => "Required value",
            "FieldValueForbidden" => "Forbidden",
            "FieldValueDuplicate" => "Duplicate value",
            "FieldValueNotFound" => "Not found",
            "FieldValueNotSupported" => "Unsupported value",
            "FieldValueTooLong" => "Too long",
            "FieldValueTooMany" => "Too many",
            _ => "Invalid value",
        };
        let mut words = what.to_owned();
        if let Some(value) = &self.value {
            words += &match value {
                Value::Object(_) | Value::Array(_) if value.to_string().len() > 120 => {
                    ": {...}".to_owned()
                }
                value => format!(": {value}"),
            };
        }
        if !self.detail.is_empty() {
            words += ": ";
            words += &self.detail;
        }
        words
    }
}

impl FieldError {
    /// Whether this problem prevents the check of a schema's rules: the values that rules look at
    /// may be missing or too large.
    pub fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_object_is_refused_in_kubernetes_words() {
        let one = FieldError::invalid(
            "spec.replicas",
            &json!(-1),
            "must be greater than or equal to 0",
        );
        let error = ApiError::invalid("apps", "Deployment", "web", std::slice::from_ref(&one));
        assert_eq!(
            error.message,
            "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
        let two = FieldError::not_supported("spec.type", &json!("x"), &["A", "B"]);
        let error = ApiError::invalid("", "Service", "web", &[one, two]);
        assert_eq!(
            error.message,
            "Service \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
             spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\"]"
        );
        assert_eq!(
            error.to_status()["details"]["causes"][1]["field"],
            "spec.type"
        );
    }
}
