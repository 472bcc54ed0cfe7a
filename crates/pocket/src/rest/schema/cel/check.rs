//! Type-checks one expression: every name exists, and every function accepts its arguments.
//!
//! A type that is known only at evaluation fits everything: an expression is refused only if it is
//! certainly wrong, or certainly beyond pocket's CEL library.

use kube_cel::cel::{
    self,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr,
    },
};
use regex::Regex;

use super::functions::{all_overloads, is_declared};
use super::types::CelType;

/// The variables that an expression may use, innermost last.
pub(super) struct Scope(Vec<(String, CelType)>);

/// What is wrong with an expression, in cel-go's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("Syntax error: {0}")]
    Syntax(String),
    #[error("undeclared reference to '{0}' (in container '')")]
    Undeclared(String),
    #[error("undefined field '{0}'")]
    UndefinedField(String),
    #[error("type '{0}' does not support field selection")]
    NoFields(CelType),
    #[error("expression of type '{0}' cannot be range of a comprehension")]
    NoRange(CelType),
    #[error("expected type '{0}' but found '{1}'")]
    Mixed(CelType, CelType),
    #[error("found no matching overload for '{name}' applied to '{given}'")]
    NoOverload { name: String, given: String },
    #[error("invalid {name} argument: '{literal}' is no regular expression")]
    NoExpression { name: String, literal: String },
    #[error("invalid {name} argument: '{literal}'")]
    Literal { name: String, literal: String },
    /// Right, but beyond pocket's library.
    #[error("pocket's CEL does not evaluate {0}; a full Kubernetes API server does")]
    NotEvaluated(String),
}

pub(super) type CheckResult = Result<CelType, CheckError>;

/// Names of types are values in CEL, which the library does not support.
const TYPE_NAMES: [&str; 10] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];

impl Scope {
    pub(super) fn new(variables: impl IntoIterator<Item = (&'static str, CelType)>) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, of)| (name.to_owned(), of))
                .collect(),
        )
    }

    /// The type of an expression, or what is wrong with it.
    pub(super) fn check_expression_text(&mut self, text: &str) -> CheckResult {
        let program =
            cel::Program::compile(text).map_err(|e| CheckError::Syntax(format_parse_errors(&e)))?;
        self.check_expression(program.expression())
    }

    fn find_variable(&self, name: &str) -> Option<&CelType> {
        self.0
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, of)| of)
    }

    fn check_expression(&mut self, expression: &IdedExpr) -> CheckResult {
        match &expression.expr {
            Expr::Unspecified => Ok(CelType::Dyn),
            Expr::Ident(name) => self.check_name(name),
            Expr::Literal(literal) => Ok(type_of_literal(literal)),
            Expr::Select(select) => self.check_select(select),
            Expr::Call(call) => self.check_call(call),
            Expr::Comprehension(comprehension) => self.check_comprehension(comprehension),
            Expr::List(list) => {
                let mut of = CelType::Dyn;
                for element in &list.elements {
                    of = unify_types(&of, self.check_expression(element)?)?;
                }
                Ok(CelType::List(Box::new(of)))
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (CelType::Dyn, CelType::Dyn);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        keys = unify_types(&keys, self.check_expression(&entry.key)?)?;
                        values = unify_types(&values, self.check_expression(&entry.value)?)?;
                    }
                }
                Ok(CelType::Map(Box::new(keys), Box::new(values)))
            }
            Expr::Struct(of) => Err(CheckError::Undeclared(of.type_name.clone())),
        }
    }

    fn check_name(&self, name: &str) -> CheckResult {
        match self.find_variable(name) {
            Some(of) => Ok(of.clone()),
            None if TYPE_NAMES.contains(&name) => Err(CheckError::NotEvaluated(format!(
                "the type {name} as a value"
            ))),
            None => Err(CheckError::Undeclared(name.to_owned())),
        }
    }

    fn check_select(&mut self, select: &SelectExpr) -> CheckResult {
        let field = &select.field;
        let of = match self.check_expression(&select.operand)? {
            CelType::Object(fields) => fields
                .get(field)
                .cloned()
                .ok_or_else(|| CheckError::UndefinedField(field.clone()))?,
            CelType::Map(_, values) => *values,
            CelType::Dyn | CelType::Null => CelType::Dyn,
            CelType::Optional(_) => {
                return Err(CheckError::NotEvaluated(
                    "the selection of a field of an optional value".to_owned(),
                ));
            }
            other => return Err(CheckError::NoFields(other)),
        };
        Ok(if select.test {
            CelType::simple("bool")
        } else {
            of
        })
    }

    fn check_call(&mut self, call: &CallExpr) -> CheckResult {
        let name = call.func_name.as_str();
        // The library's own function, from expanded macros.
        if name == "@not_strictly_false" {
            return Ok(CelType::simple("bool"));
        }
        if let Some(namespaced) = self.namespaced_function(call) {
            return self.check_overloads(&namespaced, None, &call.args);
        }
        if let Some(of) = unsupported_macro(call) {
            return Err(CheckError::NotEvaluated(of));
        }
        self.check_overloads(name, call.target.as_deref(), &call.args)
    }

    /// Full name of a namespaced function: `math.abs(…)` is not a method of a value called `math`.
    fn namespaced_function(&self, call: &CallExpr) -> Option<String> {
        let Expr::Ident(space) = &call.target.as_ref()?.expr else {
            return None;
        };
        let name = format!("{space}.{}", call.func_name);
        (self.find_variable(space).is_none()
            && (is_declared(&name) || !TYPE_NAMES.contains(&space.as_str())))
        .then_some(name)
    }

    fn check_overloads(
        &mut self,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> CheckResult {
        // One row of the table covers the four comparisons.
        let row = if matches!(name, "_<=_" | "_>_" | "_>=_") {
            "_<_"
        } else {
            name
        };
        if !is_declared(row) {
            return Err(CheckError::Undeclared(name.to_owned()));
        }
        let receiver = target.map(|t| self.check_expression(t)).transpose()?;
        let given = arguments
            .iter()
            .map(|a| self.check_expression(a))
            .collect::<Result<Vec<_>, _>>()?;
        check_literals(name, arguments)?;
        let fitting = find_overload(row, receiver.as_ref(), &given);
        match fitting {
            Some((true, result)) => Ok(result),
            Some((false, _)) => Err(CheckError::NotEvaluated(format!(
                "{} of {}",
                display_name(name),
                format_signature(receiver.as_ref(), &given)
            ))),
            None => {
                let given = format_signature(receiver.as_ref(), &given);
                Err(CheckError::NoOverload {
                    name: display_name(name).to_owned(),
                    given,
                })
            }
        }
    }

    fn check_comprehension(&mut self, comprehension: &ComprehensionExpr) -> CheckResult {
        let item = match self.check_expression(&comprehension.iter_range)? {
            CelType::List(of) => *of,
            CelType::Map(keys, _) => *keys,
            CelType::Dyn => CelType::Dyn,
            other => {
                return Err(CheckError::NoRange(other));
            }
        };
        if comprehension.iter_var2.is_some() {
            return Err(CheckError::NotEvaluated(
                "macros with two variables".to_owned(),
            ));
        }
        let init = self.check_expression(&comprehension.accu_init)?;
        let depth = self.0.len();
        self.0.push((comprehension.iter_var.clone(), item));
        self.0.push((comprehension.accu_var.clone(), init.clone()));
        let result = self.check_loop(comprehension, init, depth);
        self.0.truncate(depth);
        result
    }

    fn check_loop(
        &mut self,
        comprehension: &ComprehensionExpr,
        init: CelType,
        depth: usize,
    ) -> CheckResult {
        self.check_expression(&comprehension.loop_cond)?;
        let step = self.check_expression(&comprehension.loop_step)?;
        // The element type of an empty list is open until an element is added.
        let accumulated = if init.is_known() { init } else { step };
        self.0.truncate(depth);
        self.0.push((comprehension.accu_var.clone(), accumulated));
        self.check_expression(&comprehension.result)
    }
}

/// The result of the overloads that accept these arguments, and whether pocket can evaluate it.
fn find_overload(
    row: &str,
    receiver: Option<&CelType>,
    given: &[CelType],
) -> Option<(bool, CelType)> {
    let mut fitting: Option<(bool, CelType)> = None;
    for overload in all_overloads()
        .iter()
        .filter(|o| o.name == row && o.arguments.len() == given.len())
    {
        let mut bound = [None, None];
        let on = match (receiver, &overload.receiver) {
            (None, None) => true,
            (Some(of), Some(wanted)) => of.is_assignable_to(wanted, &mut bound),
            _ => false,
        };
        if !on
            || !given
                .iter()
                .zip(&overload.arguments)
                .all(|(of, wanted)| of.is_assignable_to(wanted, &mut bound))
        {
            continue;
        }
        let result = overload.result.bind_parameters(&bound);
        fitting = Some(match fitting.take() {
            None => (overload.evaluated, result),
            // Which overload applies is known only at evaluation.
            Some((evaluated, other)) => (
                evaluated || overload.evaluated,
                if other == result {
                    result
                } else {
                    CelType::Dyn
                },
            ),
        });
    }
    fitting
}

/// Macros of Kubernetes' CEL that the library does not expand; here they are still calls.
fn unsupported_macro(call: &CallExpr) -> Option<String> {
    let (name, count) = (call.func_name.as_str(), call.args.len());
    call.target.as_ref()?;
    let two_variables = match name {
        "all" | "exists" | "exists_one" | "existsOne" => count == 3,
        "transformList" | "transformMap" | "transformMapEntry" => matches!(count, 3 | 4),
        _ => false,
    };
    let other = matches!((name, count), ("optMap" | "optFlatMap" | "sortBy", 2));
    (two_variables || other).then(|| format!("the macro {name} with {count} arguments"))
}

/// Refuses literals that can never be parsed, like cel-go's validators.
fn check_literals(name: &str, arguments: &[IdedExpr]) -> Result<(), CheckError> {
    let text = |at: usize| match arguments.get(at).map(|a| &a.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => Some(text.inner().to_owned()),
        _ => None,
    };
    match name {
        "matches" | "find" | "findAll" => {
            let pattern = text(
                arguments
                    .len()
                    .saturating_sub(1)
                    .min(usize::from(name != "findAll")),
            );
            let bad = pattern.filter(|p| Regex::new(p).is_err());
            bad.map_or(Ok(()), |p| {
                Err(CheckError::NoExpression {
                    name: name.to_owned(),
                    literal: p,
                })
            })
        }
        "duration" | "timestamp" if arguments.len() == 1 => {
            let Some(literal) = text(0) else {
                return Ok(());
            };
            let fits = match name {
                "timestamp" => literal.parse::<jiff::Timestamp>().is_ok(),
                _ => cel::Program::compile(&format!("duration({literal:?})"))
                    .is_ok_and(|p| p.execute(&cel::Context::default()).is_ok()),
            };
            if fits {
                Ok(())
            } else {
                Err(CheckError::Literal {
                    name: name.to_owned(),
                    literal,
                })
            }
        }
        _ => Ok(()),
    }
}

fn type_of_literal(literal: &LiteralValue) -> CelType {
    CelType::simple(match literal {
        LiteralValue::Null => return CelType::Null,
        LiteralValue::Boolean(_) => "bool",
        LiteralValue::Bytes(_) => "bytes",
        LiteralValue::Double(_) => "double",
        LiteralValue::Int(_) => "int",
        LiteralValue::String(_) => "string",
        LiteralValue::UInt(_) => "uint",
    })
}

/// The elements of a literal must have the same type.
fn unify_types(known: &CelType, next: CelType) -> CheckResult {
    if !next.is_assignable_to(known, &mut [None, None]) {
        return Err(CheckError::Mixed(known.clone(), next));
    }
    Ok(if known.is_known() {
        known.clone()
    } else {
        next
    })
}

/// Name of an operator without the `@` that marks internal ones.
fn display_name(name: &str) -> &str {
    name.trim_start_matches('@')
}

fn format_signature(receiver: Option<&CelType>, arguments: &[CelType]) -> String {
    let arguments: Vec<String> = arguments.iter().map(CelType::to_string).collect();
    let arguments = format!("({})", arguments.join(", "));
    receiver.map_or(arguments.clone(), |of| format!("{of}.{arguments}"))
}

/// The parser's errors in one line.
fn format_parse_errors(errors: &cel::ParseErrors) -> String {
    let said = errors
        .errors
        .iter()
        .map(|e| format!("{} at {}:{}", e.msg, e.pos.0, e.pos.1));
    said.collect::<Vec<_>>().join("; ")
}
