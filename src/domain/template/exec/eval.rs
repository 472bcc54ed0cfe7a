//! Evaluates pipelines, commands and function calls.

use super::super::Problem;
use super::super::functions::{self, Call, Function, Type};
use super::super::literal::Ideal;
use super::super::tree::{Command, Kind, Operand, Pipe};
use super::super::value::Value;
use super::{Run, Stop};

/// Number of argument values that cost one step; 16 bytes of text count as one value.
const GRAIN: usize = 4;

impl<'p, 's> Run<'p, 's> {
    pub(super) fn pipe(&mut self, pipe: &'p Pipe<'s>, dot: &Value) -> Result<Value, Stop> {
        self.enter(pipe.at)?;
        let mut value = None;
        for (i, command) in pipe.commands.iter().enumerate() {
            let next = pipe.commands.get(i + 1).and_then(Command::function);
            let forgiving = next.is_some_and(|next| functions::forgives(next.name()));
            value = Some(self.command(command, value, dot, forgiving)?);
        }
        let value = value.unwrap_or(Value::Unknown);
        for name in &pipe.vars {
            if pipe.assigns {
                self.assign(pipe.at, name, value.clone());
            } else {
                self.vars.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    pub(super) fn assign(&mut self, at: usize, name: &str, value: Value) {
        match self.vars[self.base..]
            .iter_mut()
            .rev()
            .find(|(n, _)| *n == name)
        {
            Some(slot) => slot.1 = value,
            None => {
                self.note(Problem::new(
                    at,
                    format!("the variable `{name}` is not declared when this runs"),
                ));
            }
        }
    }

    fn command(
        &mut self,
        command: &'p Command<'s>,
        last: Option<Value>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, Stop> {
        let head = &command.head;
        self.step(head.at, 1)?;
        match &head.kind {
            Kind::Function(function) => self.call(head.at, function, &command.args, last, dot),
            Kind::Unknown => Ok(Value::Unknown),
            _ if last.is_some() || !command.args.is_empty() => {
                let rest = &self.source[head.at..];
                let written = &rest[..rest.find([' ', '\n', '|', ')', '}']).unwrap_or(rest.len())];
                let problem = Problem::new(
                    head.at,
                    format!("`{written}` is no function, it takes no arguments"),
                );
                Ok(self.note(problem.help("is a function's name, or a `|`, missing?")))
            }
            Kind::Nil => Ok(self.note(Problem::new(
                head.at,
                "`nil` is a value for functions, and nothing by itself",
            ))),
            _ => self.operand(head, dot, forgiving),
        }
    }

    /// The value of an operand where any type is accepted.
    fn operand(
        &mut self,
        operand: &'p Operand<'s>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, Stop> {
        let at = operand.at;
        Ok(match &operand.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil => Value::Nil,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Text(text) => Value::Text(text.clone()),
            Kind::Number(number) => match number.ideal {
                Ideal::Int(i) => Value::Int(i),
                Ideal::Float(f) => Value::Float(f),
                Ideal::TooLarge => self.note(Problem::new(at, "no signed whole number of 64 bits")),
            },
            Kind::Field(fields) => self.read(at, dot.clone(), "", fields, forgiving),
            Kind::Variable(name, fields) => {
                let value = match self.vars[self.base..].iter().rev().find(|(n, _)| n == name) {
                    Some((_, value)) => value.clone(),
                    None => self.note(Problem::new(
                        at,
                        format!("the variable `{name}` is not declared when this runs"),
                    )),
                };
                if fields.is_empty() {
                    value
                } else {
                    self.read(at, value, name, fields, forgiving)
                }
            }
            Kind::Function(function) => self.call(at, function, &[], None, dot)?,
            Kind::Pipe(pipe) => match &pipe.commands[..] {
                // Only parentheses around a key.
                [only] if forgiving && pipe.vars.is_empty() && only.args.is_empty() => {
                    self.command(only, None, dot, true)?
                }
                _ => self.pipe(pipe, dot)?,
            },
            Kind::Chain(inner, fields) => {
                let value = self.operand(inner, dot, forgiving)?;
                self.read(at, value, "(…)", fields, forgiving)
            }
            Kind::Unknown => Value::Unknown,
        })
    }

    fn call(
        &mut self,
        at: usize,
        function: &'static Function,
        args: &'p [Operand<'s>],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Stop> {
        let count = args.len() + usize::from(last.is_some());
        let fixed = function.params.len();
        if count < fixed || (count > fixed && function.rest.is_none()) {
            return Ok(self.note(Problem::new(
                at,
                format!("`{}`: {}", function.name(), function.takes()),
            )));
        }
        let forgiving = functions::forgives(function.name());
        let mut values = Vec::with_capacity(count);
        let decides = match function.call {
            Call::And => Some(false),
            Call::Or => Some(true),
            Call::Plain(_) => None,
        };
        for (i, arg) in args.iter().enumerate() {
            let value = self.argument(function, i, arg, dot, forgiving)?;
            if decides.is_some_and(|decides| value.is_unknown() || value.is_true() == decides) {
                return Ok(value);
            }
            values.push(value);
        }
        if let Some(last) = last {
            values.push(self.fitting(function, values.len(), at, last));
        }
        let Call::Plain(call) = function.call else {
            return Ok(values.pop().unwrap_or(Value::Nil));
        };
        let size: usize = values
            .iter()
            .map(Value::size)
            .fold(0, usize::saturating_add);
        self.step(at, 1 + size / GRAIN)?;
        if values.iter().any(Value::is_unknown) {
            return Ok(Value::Unknown);
        }
        Ok(call(&values).unwrap_or_else(|why| {
            self.note(Problem::new(at, format!("`{}`: {why}", function.name())))
        }))
    }

    /// Evaluates an argument. A number literal converts to the parameter's type if it can; any
    /// other value must already have that type.
    fn argument(
        &mut self,
        function: &Function,
        i: usize,
        arg: &'p Operand<'s>,
        dot: &Value,
        forgiving: bool,
    ) -> Result<Value, Stop> {
        if let (Kind::Number(number), Type::Int) = (&arg.kind, function.wants(i)) {
            let int = number
                .int
                .map_or_else(|| Value::Float(f64::NAN), Value::Int);
            return Ok(self.fitting(function, i, arg.at, int));
        }
        let value = self.operand(arg, dot, forgiving)?;
        Ok(self.fitting(function, i, arg.at, value))
    }

    fn fitting(&mut self, function: &Function, i: usize, at: usize, value: Value) -> Value {
        let wanted = match (function.wants(i), &value) {
            (_, Value::Unknown) | (Type::Any, _) => return value,
            (Type::Text, Value::Text(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Map, Value::Map(_)) => return value,
            (Type::Map, Value::Nil) => return Value::map(Default::default()).unwrap_or(Value::Nil),
            (Type::Int, number) if number.as_int().is_some() => return value,
            (Type::Text, _) => "a text",
            (Type::Bool, _) => "true or false",
            (Type::Map, _) => "a map",
            (Type::Int, _) => "a whole number",
        };
        let (name, is) = (function.name(), value.article());
        let problem = Problem::new(
            at,
            format!(
                "`{name}` needs {wanted} here, and this is {is}; {}",
                function.takes()
            ),
        );
        let help = match (function.wants(i), &value) {
            (Type::Text, Value::Nil) => "give it a value, or write `default …`",
            (Type::Text, Value::Map(_) | Value::List(_)) => "write `toJson` or `toYaml` before it",
            (Type::Text, _) => "write `toString` before it",
            (Type::Int, Value::Text(_) | Value::Float(_)) => "write `int` before it",
            _ => return self.note(problem),
        };
        self.note(problem.help(help))
    }
}
