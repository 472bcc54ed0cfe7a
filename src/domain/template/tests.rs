//! Tests with the article's manifest, Go's own results, deliberate differences, budgets, and
//! properties of any text.

mod article;
mod budget;
mod errors;
mod go;
mod properties;
mod sprig;

use super::{Context, TemplateError, render};
use serde_json::{Value, json};

pub(super) fn context() -> Context {
    let values = [
        ("replicas", json!(2)),
        ("port", json!(20001)),
        ("nothing", Value::Null),
        (
            "hosts",
            json!([{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]),
        ),
        ("labels", json!({"team": "shop", "tier": "web"})),
        ("off", json!(false)),
        ("text", json!("hello world")),
    ];
    Context {
        app: "spring-cloud-a".into(),
        environment: "gray".into(),
        namespace: "demo".into(),
        images: [(
            "backend".to_owned(),
            "registry.local/spring-cloud-a:1.0.1".to_owned(),
        )]
        .into(),
        values: values.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        build: Default::default(),
    }
}

pub(super) fn ok(source: &str) -> String {
    render("t", source, &context()).unwrap_or_else(|e| panic!("{source}: {e:#?}"))
}

pub(super) fn wrong(source: &str) -> Vec<TemplateError> {
    render("t", source, &context()).expect_err(source)
}

/// The only error, as displayed.
pub(super) fn shown(source: &str) -> String {
    let all = wrong(source);
    assert_eq!(all.len(), 1, "{source}: {all:#?}");
    all[0].to_string()
}
