//! Executes a parsed template as Go does, with two differences: an error is recorded and whatever
//! depends on it becomes unknown, so that one run finds all errors; and a budget stops runaway
//! templates.

mod eval;
mod read;

use super::origin::Rendered;
use super::tree::{Branch, List, Node, Parsed};
use super::value::Value;
use super::{Context, Problem};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Limit on the iterations of all `range` blocks together.
const MAX_ITERATIONS: usize = 100_000;
/// Limit on nodes executed plus functions called; large arguments count by their size.
const MAX_STEPS: usize = 500_000;
/// Limit on the output in bytes; more than a cluster would accept for all objects of a template.
const MAX_OUTPUT: usize = 8 << 20;
/// Limit on nested blocks, pipelines and template calls, since each level uses stack.
const MAX_DEPTH: usize = 300;

/// How Go prints a missing value, also after `html`, `js` and `urlquery`.
const NOTHING: [&str; 5] = [
    "<no value>",
    "<nil>",
    "&lt;no value&gt;",
    "%3Cno+value%3E",
    "\\u003Cno value\\u003E",
];

/// Renders a parsed template, or returns every problem in it.
pub(super) fn run(
    source: &str,
    parsed: &Parsed<'_>,
    context: &Context,
) -> Result<Rendered, Vec<Problem>> {
    let data = Value::from_json(&context.data()).map_err(|why| vec![Problem::new(0, why)])?;
    let mut run = Run {
        source,
        parsed,
        environment: &context.environment,
        vars: vec![("$", data.clone())],
        base: 0,
        out: Rendered::default(),
        problems: parsed.problems.clone(),
        places: parsed.problems.iter().map(|p| p.offset).collect(),
        steps: 0,
        iterations: 0,
        depth: 0,
    };
    let ended = run.list(&parsed.main, &data);
    if let (Err(Stop(problem)), []) = (ended, &run.problems[..]) {
        // Reported only when nothing else is wrong, since other problems usually cause it.
        run.problems.push(problem);
    }
    if run.problems.is_empty() {
        run.problems = run.out.nothing();
    }
    if run.problems.is_empty() {
        Ok(run.out)
    } else {
        Err(run.problems)
    }
}

/// The budget is exceeded: rendering ends with this problem.
struct Stop(Problem);

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'p, 's> {
    source: &'s str,
    parsed: &'p Parsed<'s>,
    environment: &'p str,
    vars: Vec<(&'s str, Value)>,
    /// Index in `vars` where the variables of the current named template begin.
    base: usize,
    out: Rendered,
    problems: Vec<Problem>,
    /// Offsets with a recorded problem; each offset is reported once.
    places: BTreeSet<usize>,
    steps: usize,
    iterations: usize,
    depth: usize,
}

impl<'p, 's> Run<'p, 's> {
    fn note(&mut self, problem: Problem) -> Value {
        if self.places.insert(problem.offset) {
            self.problems.push(problem);
        }
        Value::Unknown
    }

    fn step(&mut self, at: usize, cost: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(cost);
        if self.steps > MAX_STEPS {
            let problem = Problem::new(
                at,
                format!("the template takes more than {MAX_STEPS} steps"),
            );
            return Err(Stop(
                problem.help("a manifest is not a program: make its loops shorter"),
            ));
        }
        Ok(())
    }

    fn enter(&mut self, at: usize) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop(Problem::new(
                at,
                "the templates call each other without end, or nest too deeply",
            )));
        }
        Ok(())
    }

    fn write(&mut self, text: &str, at: usize, copied: bool) -> Result<(), Stop> {
        if self.out.text.len() + text.len() > MAX_OUTPUT {
            return Err(Stop(Problem::new(
                at,
                format!("the template renders more than {MAX_OUTPUT} bytes"),
            )));
        }
        self.out.write(text, at, copied);
        Ok(())
    }

    fn list(&mut self, list: &'p List<'s>, dot: &Value) -> Result<Flow, Stop> {
        for node in list {
            match self.node(node, dot)? {
                Flow::On => {}
                ended => return Ok(ended),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'p Node<'s>, dot: &Value) -> Result<Flow, Stop> {
        match node {
            Node::Text { at, text } => self.write(text, *at, true)?,
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.vars.is_empty() {
                    self.print(&value, pipe.at)?;
                }
            }
            Node::If(branch) => {
                let scope = self.vars.len();
                let value = self.pipe(&branch.pipe, dot)?;
                let flow = self.branch(branch, &value, dot, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::With(branch) => {
                let scope = self.vars.len();
                let value = self.pipe(&branch.pipe, dot)?;
                let flow = self.branch(branch, &value, &value, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::Range(branch) => {
                let scope = self.vars.len();
                let flow = self.range(branch, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::Template { at, name, pipe } => {
                let data = pipe
                    .as_ref()
                    .map_or(Ok(Value::Nil), |pipe| self.pipe(pipe, dot))?;
                self.named(*at, name, data)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// Executes the body or the `else` list; neither when the condition is unknown.
    fn branch(
        &mut self,
        branch: &'p Branch<'s>,
        test: &Value,
        inside: &Value,
        dot: &Value,
    ) -> Result<Flow, Stop> {
        self.enter(branch.at)?;
        let flow = match test {
            Value::Unknown => Flow::On,
            test if test.is_true() => self.list(&branch.body, inside)?,
            _ => self.list(&branch.otherwise, dot)?,
        };
        self.depth -= 1;
        Ok(flow)
    }

    fn named(&mut self, at: usize, name: &Rc<str>, data: Value) -> Result<(), Stop> {
        self.step(at, 1)?;
        self.enter(at)?;
        if let Some(body) = self.parsed.named.get(name) {
            let base = std::mem::replace(&mut self.base, self.vars.len());
            self.vars.push(("$", data.clone()));
            self.list(body, &data)?;
            self.vars.truncate(self.base);
            self.base = base;
        }
        self.depth -= 1;
        Ok(())
    }

    fn range(&mut self, branch: &'p Branch<'s>, dot: &Value) -> Result<Flow, Stop> {
        let value = self.pipe(&branch.pipe, dot)?;
        self.enter(branch.at)?;
        let over = match &value {
            Value::Unknown => Some(0),
            Value::Nil => None,
            Value::List(list) => Some(list.items.len()).filter(|n| *n > 0),
            Value::Map(map) => Some(map.entries.len()).filter(|n| *n > 0),
            number if number.as_int().is_some() && branch.pipe.vars.len() > 1 => {
                let what = "`range` over a number has one variable";
                self.note(Problem::new(branch.pipe.at, what));
                Some(0)
            }
            other => match other.as_int() {
                Some(n) => usize::try_from(n).ok().filter(|n| *n > 0),
                None => {
                    let what = format!(
                        "`range` goes over lists, maps and whole numbers, and this is {}",
                        other.article()
                    );
                    self.note(Problem::new(branch.pipe.at, what));
                    Some(0)
                }
            },
        };
        let flow = match over {
            None => self.list(&branch.otherwise, dot)?,
            Some(count) => {
                self.iterate(branch, &value, count)?;
                Flow::On
            }
        };
        self.depth -= 1;
        Ok(flow)
    }

    fn iterate(&mut self, branch: &'p Branch<'s>, over: &Value, count: usize) -> Result<(), Stop> {
        let scope = self.vars.len();
        let mut entries = match over {
            Value::Map(map) => Some(map.entries.iter()),
            _ => None,
        };
        for i in 0..count {
            self.iterations += 1;
            if self.iterations > MAX_ITERATIONS {
                let what =
                    format!("`range` runs more than {MAX_ITERATIONS} times in this template");
                return Err(Stop(Problem::new(branch.at, what)));
            }
            self.step(branch.at, 1)?;
            let number = i64::try_from(i).unwrap_or(i64::MAX);
            let (index, item) = match (over, entries.as_mut().and_then(Iterator::next)) {
                (Value::List(list), _) => (
                    Value::Int(number),
                    list.items.get(i).cloned().unwrap_or(Value::Nil),
                ),
                (_, Some((key, value))) => (Value::Text(key.clone()), value.clone()),
                (Value::Int64(_), _) => (Value::Nil, Value::Int64(number)),
                (Value::Byte(_), _) => {
                    (Value::Nil, Value::Byte(u8::try_from(i).unwrap_or(u8::MAX)))
                }
                _ => (Value::Nil, Value::Int(number)),
            };
            let vars = &branch.pipe.vars;
            if branch.pipe.assigns {
                if let [first, second] = vars[..] {
                    self.assign(branch.at, first, index);
                    self.assign(branch.at, second, item.clone());
                } else if let [only] = vars[..] {
                    self.assign(branch.at, only, item.clone());
                }
            } else {
                let values = [item.clone(), index];
                for (slot, value) in self.vars[scope - vars.len()..].iter_mut().rev().zip(values) {
                    slot.1 = value;
                }
            }
            let flow = self.list(&branch.body, &item)?;
            self.vars.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn print(&mut self, value: &Value, at: usize) -> Result<(), Stop> {
        let written = || {
            let rest = &self.source[at..];
            rest[..super::lex::end_of_action(rest).unwrap_or(rest.len())]
                .trim_end_matches(['-', ' ', '\n', '\r', '\t'])
        };
        let problem = match value {
            Value::Unknown => return Ok(()),
            Value::Nil => Problem::new(at, format!("`{}` has no value to print", written()))
                .help("give it one, or write `default …` behind it"),
            Value::Map(_) | Value::List(_) => {
                let what = format!(
                    "`{}` is {}, Go would print it as no YAML",
                    written(),
                    value.article()
                );
                Problem::new(at, what).help(format!(
                    "write `{{{{ {} | toJson }}}}`, or `toYaml` with `nindent`",
                    written()
                ))
            }
            Value::Text(s) if NOTHING.iter().any(|nothing| s.contains(nothing)) => Problem::new(
                at,
                format!("`{}` prints a value that is not there", written()),
            ),
            Value::Text(s)
                if s.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) =>
            {
                Problem::new(
                    at,
                    format!(
                        "`{}` holds a control character: YAML allows none",
                        written()
                    ),
                )
            }
            Value::Float(f) if !f.is_finite() => {
                Problem::new(at, format!("`{}` is no number", written()))
            }
            Value::Text(text) => return self.write(text, at, false),
            other => {
                return self.write(
                    &super::format::print(std::slice::from_ref(other)),
                    at,
                    false,
                );
            }
        };
        self.note(problem);
        Ok(())
    }
}
