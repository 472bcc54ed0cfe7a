//! Compares results with Go's. Each case of `go.json` was rendered by Go 1.26's `text/template`
//! with `missingkey=error`, Sprig 3 and Helm's `toYaml` and `required`; null means that Go reports
//! an error. The cases cover Go's lexer, parser, execution and `fmt`. Deliberate differences are
//! tested in the sibling module on errors and listed in docs/manifests.md.

use super::super::{Context, render};
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn answers_as_go_does() {
    let all: Value = serde_json::from_str(include_str!("go.json")).unwrap();
    let values: BTreeMap<String, Value> = serde_json::from_value(all["values"].clone()).unwrap();
    let context = Context {
        values,
        ..super::context()
    };
    let cases = all["cases"].as_array().unwrap();
    assert!(cases.len() > 300);
    let mut wrong = Vec::new();
    for case in cases {
        let source = case[0].as_str().unwrap();
        match (render("t", source, &context), case[1].as_str()) {
            (Ok(ours), Some(go)) if ours == go => {}
            (Err(_), None) => {}
            (ours, go) => wrong.push(format!("{source:?}\n  ours {ours:?}\n  Go   {go:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
