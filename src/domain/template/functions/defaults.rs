//! Functions for values that are missing or empty.

use super::super::function_error::FunctionError;
use super::super::value::Value;
use super::Function;
use super::Type::{Any, Bool, Text};
use super::{text_argument, to_text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("default VALUE X", &[Any], |args| {
        Ok(args
            .get(1)
            .filter(|given| given.is_true())
            .unwrap_or(&args[0])
            .clone())
    })
    .with_rest(Any),
    Function::new("coalesce X …", &[], |args| {
        Ok(args
            .iter()
            .find(|v| v.is_true())
            .cloned()
            .unwrap_or(Value::Nil))
    })
    .with_rest(Any),
    Function::new("empty X", &[Any], |args| {
        Ok(Value::Bool(!args[0].is_true()))
    }),
    Function::new("required MESSAGE X", &[Text, Any], |args| match &args[1] {
        Value::Nil => Err(raised(args)),
        Value::Text(given) if given.is_empty() => Err(raised(args)),
        given => Ok(given.clone()),
    }),
    Function::new("fail MESSAGE", &[Text], |args| Err(raised(args))),
    Function::new("ternary YES NO TEST", &[Any, Any, Bool], |args| {
        Ok(args[usize::from(!args[2].is_true())].clone())
    }),
    Function::new("toString X", &[Any], |args| {
        Ok(Value::from_text(to_text(&args[0])))
    }),
];

/// The error whose message is the first argument.
fn raised(args: &[Value]) -> FunctionError {
    FunctionError::Raised(text_argument(args, 0).to_owned())
}
