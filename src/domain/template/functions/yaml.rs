//! `toYaml`.

use super::Function;
use super::Type::Any;
use super::bounded_text;

pub(super) const FUNCTIONS: &[Function] = &[Function::new("toYaml X", &[Any], |args| {
    let mut text = kube_yaml::to_yaml(&args[0].to_json());
    text.pop();
    bounded_text(text)
})];
