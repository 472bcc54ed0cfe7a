//! `toYaml`.

use super::Function;
use super::Type::Any;
use super::bounded_text;
use crate::domain::yaml;

pub(super) const FUNCTIONS: &[Function] = &[Function::new("toYaml X", &[Any], |args| {
    let mut text = yaml::to_yaml(&args[0].to_json());
    text.pop();
    bounded_text(text)
})];
