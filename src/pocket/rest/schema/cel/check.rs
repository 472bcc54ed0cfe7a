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

use super::functions::{is_declared, overloads};
use super::types::Type;

/// The variables that an expression may use, innermost last.
pub(super) struct Scope(Vec<(String, Type)>);

type Checked = Result<Type, String>;

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
    pub(super) fn new(variables: impl IntoIterator<Item = (&'static str, Type)>) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, of)| (name.to_owned(), of))
                .collect(),
        )
    }

    /// The type of an expression, or what is wrong with it.
    pub(super) fn check_text(&mut self, text: &str) -> Checked {
        let program = cel::Program::compile(text).map_err(|e| parse_error(&e))?;
        self.check(program.expression())
    }

    fn find(&self, name: &str) -> Option<&Type> {
        self.0
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, of)| of)
    }

    fn check(&mut self, expression: &IdedExpr) -> Checked {
        match &expression.expr {
            Expr::Unspecified => Ok(Type::Dyn),
            Expr::Ident(name) => self.check_name(name),
            Expr::Literal(literal) => Ok(type_of_literal(literal)),
            Expr::Select(select) => self.check_select(select),
            Expr::Call(call) => self.check_call(call),
            Expr::Comprehension(comprehension) => self.check_comprehension(comprehension),
            Expr::List(list) => {
                let mut of = Type::Dyn;
                for element in &list.elements {
                    of = same(&of, self.check(element)?)?;
                }
                Ok(Type::List(Box::new(of)))
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (Type::Dyn, Type::Dyn);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        keys = same(&keys, self.check(&entry.key)?)?;
                        values = same(&values, self.check(&entry.value)?)?;
                    }
                }
                Ok(Type::Map(Box::new(keys), Box::new(values)))
            }
            Expr::Struct(of) => Err(undeclared(&of.type_name)),
        }
    }

    fn check_name(&self, name: &str) -> Checked {
        match self.find(name) {
            Some(of) => Ok(of.clone()),
            None if TYPE_NAMES.contains(&name) => {
                Err(not_evaluated(&format!("the type {name} as a value")))
            }
            None => Err(undeclared(name)),
        }
    }

    fn check_select(&mut self, select: &SelectExpr) -> Checked {
        let field = &select.field;
        let of = match self.check(&select.operand)? {
            Type::Object(fields) => fields
                .get(field)
                .cloned()
                .ok_or_else(|| format!("undefined field '{field}'"))?,
            Type::Map(_, values) => *values,
            Type::Dyn | Type::Null => Type::Dyn,
            Type::Optional(_) => {
                return Err(not_evaluated(
                    "the selection of a field of an optional value",
                ));
            }
            other => return Err(format!("type '{other}' does not support field selection")),
        };
        Ok(if select.test {
            Type::simple("bool")
        } else {
            of
        })
    }

    fn check_call(&mut self, call: &CallExpr) -> Checked {
        let name = call.func_name.as_str();
        // The library's own function, from expanded macros.
        if name == "@not_strictly_false" {
            return Ok(Type::simple("bool"));
        }
        if let Some(namespaced) = self.namespaced(call) {
            return self.check_overloads(&namespaced, None, &call.args);
        }
        if let Some(of) = macro_of(call) {
            return Err(not_evaluated(&of));
        }
        self.check_overloads(name, call.target.as_deref(), &call.args)
    }

    /// Full name of a namespaced function: `math.abs(…)` is not a method of a value called `math`.
    fn namespaced(&self, call: &CallExpr) -> Option<String> {
        let Expr::Ident(space) = &call.target.as_ref()?.expr else {
            return None;
        };
        let name = format!("{space}.{}", call.func_name);
        (self.find(space).is_none()
            && (is_declared(&name) || !TYPE_NAMES.contains(&space.as_str())))
        .then_some(name)
    }

    fn check_overloads(
        &mut self,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> Checked {
        // One row of the table covers the four comparisons.
        let row = if matches!(name, "_<=_" | "_>_" | "_>=_") {
            "_<_"
        } else {
            name
        };
        if !is_declared(row) {
            return Err(undeclared(name));
        }
        let receiver = target.map(|t| self.check(t)).transpose()?;
        let given = arguments
            .iter()
            .map(|a| self.check(a))
            .collect::<Result<Vec<_>, _>>()?;
        check_literals(name, arguments)?;
        let mut fitting: Option<(bool, Type)> = None;
        for overload in overloads()
            .iter()
            .filter(|o| o.name == row && o.arguments.len() == given.len())
        {
            let mut bound = [None, None];
            let on = match (&receiver, &overload.receiver) {
                (None, None) => true,
                (Some(of), Some(wanted)) => of.fits(wanted, &mut bound),
                _ => false,
            };
            if !on
                || !given
                    .iter()
                    .zip(&overload.arguments)
                    .all(|(of, wanted)| of.fits(wanted, &mut bound))
            {
                continue;
            }
            let result = overload.result.bind(&bound);
            fitting = Some(match fitting.take() {
                None => (overload.evaluated, result),
                // Which overload applies is known only at evaluation.
                Some((evaluated, other)) => (
                    evaluated || overload.evaluated,
                    if other == result { result } else { Type::Dyn },
                ),
            });
        }
        match fitting {
            Some((true, result)) => Ok(result),
            Some((false, _)) => Err(not_evaluated(&format!(
                "{} of {}",
                shown(name),
                listed(receiver.as_ref(), &given)
            ))),
            None => {
                let given = listed(receiver.as_ref(), &given);
                Err(format!(
                    "found no matching overload for '{}' applied to '{given}'",
                    shown(name)
                ))
            }
        }
    }

    fn check_comprehension(&mut self, comprehension: &ComprehensionExpr) -> Checked {
        let item = match self.check(&comprehension.iter_range)? {
            Type::List(of) => *of,
            Type::Map(keys, _) => *keys,
            Type::Dyn => Type::Dyn,
            other => {
                return Err(format!(
                    "expression of type '{other}' cannot be range of a comprehension"
                ));
            }
        };
        if comprehension.iter_var2.is_some() {
            return Err(not_evaluated("macros with two variables"));
        }
        let init = self.check(&comprehension.accu_init)?;
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
        init: Type,
        depth: usize,
    ) -> Checked {
        self.check(&comprehension.loop_cond)?;
        let step = self.check(&comprehension.loop_step)?;
        // The element type of an empty list is open until an element is added.
        let accumulated = if init.is_known() { init } else { step };
        self.0.truncate(depth);
        self.0.push((comprehension.accu_var.clone(), accumulated));
        self.check(&comprehension.result)
    }
}

/// Macros of Kubernetes' CEL that the library does not expand; here they are still calls.
fn macro_of(call: &CallExpr) -> Option<String> {
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
fn check_literals(name: &str, arguments: &[IdedExpr]) -> Result<(), String> {
    let text = |at: usize| match arguments.get(at).map(|a| &a.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => Some(text.inner().to_owned()),
        _ => None,
    };
    match name {
        "matches" | "find" | "findAll" => {
            let pattern =
                text(
                    arguments
                        .len()
                        .saturating_sub(1)
                        .min(if name == "findAll" { 0 } else { 1 }),
                );
            let bad = pattern.filter(|p| Regex::new(p).is_err());
            bad.map_or(Ok(()), |p| {
                Err(format!(
                    "invalid {name} argument: '{p}' is no regular expression"
                ))
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
                Err(format!("invalid {name} argument: '{literal}'"))
            }
        }
        _ => Ok(()),
    }
}

fn type_of_literal(literal: &LiteralValue) -> Type {
    Type::simple(match literal {
        LiteralValue::Null => return Type::Null,
        LiteralValue::Boolean(_) => "bool",
        LiteralValue::Bytes(_) => "bytes",
        LiteralValue::Double(_) => "double",
        LiteralValue::Int(_) => "int",
        LiteralValue::String(_) => "string",
        LiteralValue::UInt(_) => "uint",
    })
}

/// The elements of a literal must have the same type.
fn same(known: &Type, next: Type) -> Checked {
    if !next.fits(known, &mut [None, None]) {
        return Err(format!("expected type '{known}' but found '{next}'"));
    }
    Ok(if known.is_known() {
        known.clone()
    } else {
        next
    })
}

fn undeclared(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}

fn not_evaluated(what: &str) -> String {
    format!("pocket's CEL does not evaluate {what}; a full Kubernetes API server does")
}

/// Name of an operator without the `@` that marks internal ones.
fn shown(name: &str) -> &str {
    name.trim_start_matches('@')
}

fn listed(receiver: Option<&Type>, arguments: &[Type]) -> String {
    let arguments: Vec<String> = arguments.iter().map(Type::to_string).collect();
    let arguments = format!("({})", arguments.join(", "));
    receiver.map_or(arguments.clone(), |of| format!("{of}.{arguments}"))
}

/// The parser's errors in one line.
fn parse_error(errors: &cel::ParseErrors) -> String {
    let said = errors
        .errors
        .iter()
        .map(|e| format!("{} at {}:{}", e.msg, e.pos.0, e.pos.1));
    format!("Syntax error: {}", said.collect::<Vec<_>>().join("; "))
}
