//! Evaluates pipelines, commands and function calls.

use super::super::Problem;
use super::super::functions::{self, Call, Function, Type};
use super::super::literal::Ideal;
use super::super::tree::{Command, Operand, OperandKind, Pipe};
use super::super::value::Value;
use super::{OverBudget, Run};

/// Number of argument values that cost one step; 16 bytes of text count as one value.
const VALUES_PER_STEP: usize = 4;

impl<'p, 's> Run<'p, 's> {
    pub(super) fn eval_pipe(
        &mut self,
        pipe: &'p Pipe<'s>,
        dot: &Value,
    ) -> Result<Value, OverBudget> {
        self.increase_depth(pipe.at)?;
        let mut value = None;
        for (i, command) in pipe.commands.iter().enumerate() {
            let next = pipe.commands.get(i + 1).and_then(Command::function);
            let forgiving = next.is_some_and(|next| functions::allows_missing_key(next.name()));
            value = Some(self.eval_command(command, value, dot, forgiving)?);
        }
        let value = value.unwrap_or(Value::Unknown);
        for name in &pipe.vars {
            if pipe.assigns {
                self.assign_variable(pipe.at, name, value.clone());
            } else {
                self.vars.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    pub(super) fn assign_variable(&mut self, at: usize, name: &str, value: Value) {
        match self.vars[self.base..]
            .iter_mut()
            .rev()
            .find(|(n, _)| *n == name)
        {
            Some(slot) => slot.1 = value,
            None => {
                self.note_problem(Problem::new(
                    at,
                    format!("the variable `{name}` is not declared when this runs"),
                ));
            }
        }
    }

    fn eval_command(
        &mut self,
        command: &'p Command<'s>,
        last: Option<Value>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, OverBudget> {
        let head = &command.head;
        self.charge_steps(head.at, 1)?;
        match &head.kind {
            OperandKind::Function(function) => {
                self.call_function(head.at, function, &command.args, last, dot)
            }
            OperandKind::Unknown => Ok(Value::Unknown),
            _ if last.is_some() || !command.args.is_empty() => {
                let rest = &self.source[head.at..];
                let written = &rest[..rest.find([' ', '\n', '|', ')', '}']).unwrap_or(rest.len())];
                let problem = Problem::new(
                    head.at,
                    format!("`{written}` is no function, it takes no arguments"),
                );
                Ok(
                    self.note_problem(
                        problem.with_help("is a function's name, or a `|`, missing?"),
                    ),
                )
            }
            OperandKind::Nil => Ok(self.note_problem(Problem::new(
                head.at,
                "`nil` is a value for functions, and nothing by itself",
            ))),
            _ => self.eval_operand(head, dot, forgiving),
        }
    }

    /// The value of an operand where any type is accepted.
    fn eval_operand(
        &mut self,
        operand: &'p Operand<'s>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, OverBudget> {
        let at = operand.at;
        Ok(match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Nil => Value::Nil,
            OperandKind::Bool(b) => Value::Bool(*b),
            OperandKind::Text(text) => Value::Text(text.clone()),
            OperandKind::Number(number) => match number.ideal {
                Ideal::Int(i) => Value::Int(i),
                Ideal::Float(f) => Value::Float(f),
                Ideal::TooLarge => {
                    self.note_problem(Problem::new(at, "no signed whole number of 64 bits"))
                }
            },
            OperandKind::Field(fields) => self.follow_keys(at, dot.clone(), "", fields, forgiving),
            OperandKind::Variable(name, fields) => {
                let value = match self.vars[self.base..].iter().rev().find(|(n, _)| n == name) {
                    Some((_, value)) => value.clone(),
                    None => self.note_problem(Problem::new(
                        at,
                        format!("the variable `{name}` is not declared when this runs"),
                    )),
                };
                if fields.is_empty() {
                    value
                } else {
                    self.follow_keys(at, value, name, fields, forgiving)
                }
            }
            OperandKind::Function(function) => self.call_function(at, function, &[], None, dot)?,
            OperandKind::Pipe(pipe) => match &pipe.commands[..] {
                // Only parentheses around a key.
                [only] if forgiving && pipe.vars.is_empty() && only.args.is_empty() => {
                    self.eval_command(only, None, dot, true)?
                }
                _ => self.eval_pipe(pipe, dot)?,
            },
            OperandKind::Chain(inner, fields) => {
                let value = self.eval_operand(inner, dot, forgiving)?;
                self.follow_keys(at, value, "(…)", fields, forgiving)
            }
            OperandKind::Unknown => Value::Unknown,
        })
    }

    fn call_function(
        &mut self,
        at: usize,
        function: &'static Function,
        args: &'p [Operand<'s>],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, OverBudget> {
        let count = args.len() + usize::from(last.is_some());
        let fixed = function.params.len();
        if count < fixed || (count > fixed && function.rest.is_none()) {
            return Ok(self.note_problem(Problem::new(
                at,
                format!("`{}`: {}", function.name(), function.usage_hint()),
            )));
        }
        let forgiving = functions::allows_missing_key(function.name());
        let mut values = Vec::with_capacity(count);
        let decides = match function.call {
            Call::And => Some(false),
            Call::Or => Some(true),
            Call::Plain(_) => None,
        };
        for (i, arg) in args.iter().enumerate() {
            let value = self.eval_argument(function, i, arg, dot, forgiving)?;
            if decides.is_some_and(|decides| value.is_unknown() || value.is_true() == decides) {
                return Ok(value);
            }
            values.push(value);
        }
        if let Some(last) = last {
            values.push(self.check_argument_type(function, values.len(), at, last));
        }
        let Call::Plain(call) = function.call else {
            return Ok(values.pop().unwrap_or(Value::Nil));
        };
        let size: usize = values
            .iter()
            .map(Value::size)
            .fold(0, usize::saturating_add);
        self.charge_steps(at, 1 + size / VALUES_PER_STEP)?;
        if values.iter().any(Value::is_unknown) {
            return Ok(Value::Unknown);
        }
        Ok(call(&values).unwrap_or_else(|why| {
            self.note_problem(Problem::new(at, format!("`{}`: {why}", function.name())))
        }))
    }

    /// Evaluates an argument. A number literal converts to the parameter's type if it can; any
    /// other value must already have that type.
    fn eval_argument(
        &mut self,
        function: &Function,
        i: usize,
        arg: &'p Operand<'s>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, OverBudget> {
        if let (OperandKind::Number(number), Type::Int) = (&arg.kind, function.argument_type(i)) {
            let int = number
                .int
                .map_or_else(|| Value::Float(f64::NAN), Value::Int);
            return Ok(self.check_argument_type(function, i, arg.at, int));
        }
        let value = self.eval_operand(arg, dot, forgiving)?;
        Ok(self.check_argument_type(function, i, arg.at, value))
    }

    fn check_argument_type(
        &mut self,
        function: &Function,
        i: usize,
        at: usize,
        value: Value,
    ) -> Value {
        let wanted = match (function.argument_type(i), &value) {
            (_, Value::Unknown) | (Type::Any, _) => return value,
            (Type::Text, Value::Text(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Map, Value::Map(_)) => return value,
            (Type::Map, Value::Nil) => {
                return Value::from_map(Default::default()).unwrap_or(Value::Nil);
            }
            (Type::Int, number) if number.as_int().is_some() => return value,
            (Type::Text, _) => "a text",
            (Type::Bool, _) => "true or false",
            (Type::Map, _) => "a map",
            (Type::Int, _) => "a whole number",
        };
        let (name, is) = (function.name(), value.describe_type());
        let problem = Problem::new(
            at,
            format!(
                "`{name}` needs {wanted} here, and this is {is}; {}",
                function.usage_hint()
            ),
        );
        let help = match (function.argument_type(i), &value) {
            (Type::Text, Value::Nil) => "give it a value, or write `default …`",
            (Type::Text, Value::Map(_) | Value::List(_)) => "write `toJson` or `toYaml` before it",
            (Type::Text, _) => "write `toString` before it",
            (Type::Int, Value::Text(_) | Value::Float(_)) => "write `int` before it",
            _ => return self.note_problem(problem),
        };
        self.note_problem(problem.with_help(help))
    }
}
