//! `toYaml`.

use super::Function;
use super::Type::Any;
use super::bounded;
use crate::domain::yaml;

pub(super) const FUNCTIONS: &[Function] = &[Function::new("toYaml X", &[Any], |args| {
    let mut text = yaml::text(&args[0].to_json());
    text.pop();
    bounded(text)
})];
