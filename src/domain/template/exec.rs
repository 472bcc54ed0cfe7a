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
const NIL_TEXTS: [&str; 5] = [
    "<no value>",
    "<nil>",
    "&lt;no value&gt;",
    "%3Cno+value%3E",
    "\\u003Cno value\\u003E",
];

/// Renders a parsed template, or returns every problem in it.
pub(super) fn run_template(
    source: &str,
    parsed: &Parsed<'_>,
    context: &Context,
) -> Result<Rendered, Vec<Problem>> {
    let data = Value::from_json(&context.template_data())
        .map_err(|limit| vec![Problem::new(0, limit.to_string())])?;
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
    let ended = run.exec_list(&parsed.main, &data);
    if let (Err(OverBudget(problem)), []) = (ended, &run.problems[..]) {
        // Reported only when nothing else is wrong, since other problems usually cause it.
        run.problems.push(problem);
    }
    if run.problems.is_empty() {
        run.problems = run.out.find_no_value();
    }
    if run.problems.is_empty() {
        Ok(run.out)
    } else {
        Err(run.problems)
    }
}

/// The budget is exceeded: rendering ends with this problem.
struct OverBudget(Problem);

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Normal,
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
    fn note_problem(&mut self, problem: Problem) -> Value {
        if self.places.insert(problem.offset) {
            self.problems.push(problem);
        }
        Value::Unknown
    }

    fn charge_steps(&mut self, at: usize, cost: usize) -> Result<(), OverBudget> {
        self.steps = self.steps.saturating_add(cost);
        if self.steps > MAX_STEPS {
            let problem = Problem::new(
                at,
                format!("the template takes more than {MAX_STEPS} steps"),
            );
            return Err(OverBudget(
                problem.with_help("a manifest is not a program: make its loops shorter"),
            ));
        }
        Ok(())
    }

    fn increase_depth(&mut self, at: usize) -> Result<(), OverBudget> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(OverBudget(Problem::new(
                at,
                "the templates call each other without end, or nest too deeply",
            )));
        }
        Ok(())
    }

    fn write_text(&mut self, text: &str, at: usize, copied: bool) -> Result<(), OverBudget> {
        if self.out.text.len() + text.len() > MAX_OUTPUT {
            return Err(OverBudget(Problem::new(
                at,
                format!("the template renders more than {MAX_OUTPUT} bytes"),
            )));
        }
        self.out.push_text(text, at, copied);
        Ok(())
    }

    fn exec_list(&mut self, list: &'p List<'s>, dot: &Value) -> Result<Flow, OverBudget> {
        for node in list {
            match self.exec_node(node, dot)? {
                Flow::Normal => {}
                ended => return Ok(ended),
            }
        }
        Ok(Flow::Normal)
    }

    fn exec_node(&mut self, node: &'p Node<'s>, dot: &Value) -> Result<Flow, OverBudget> {
        match node {
            Node::Text { at, text } => self.write_text(text, *at, true)?,
            Node::Action(pipe) => {
                let value = self.eval_pipe(pipe, dot)?;
                if pipe.vars.is_empty() {
                    self.print_value(&value, pipe.at)?;
                }
            }
            Node::If(branch) => {
                let scope = self.vars.len();
                let value = self.eval_pipe(&branch.pipe, dot)?;
                let flow = self.exec_branch(branch, &value, dot, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::With(branch) => {
                let scope = self.vars.len();
                let value = self.eval_pipe(&branch.pipe, dot)?;
                let flow = self.exec_branch(branch, &value, &value, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::Range(branch) => {
                let scope = self.vars.len();
                let flow = self.exec_range(branch, dot)?;
                self.vars.truncate(scope);
                return Ok(flow);
            }
            Node::Template { at, name, pipe } => {
                let data = pipe
                    .as_ref()
                    .map_or(Ok(Value::Nil), |pipe| self.eval_pipe(pipe, dot))?;
                self.exec_named_template(*at, name, data)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Normal)
    }

    /// Executes the body or the `else` list; neither when the condition is unknown.
    fn exec_branch(
        &mut self,
        branch: &'p Branch<'s>,
        test: &Value,
        inside: &Value,
        dot: &Value,
    ) -> Result<Flow, OverBudget> {
        self.increase_depth(branch.at)?;
        let flow = match test {
            Value::Unknown => Flow::Normal,
            test if test.is_true() => self.exec_list(&branch.body, inside)?,
            _ => self.exec_list(&branch.otherwise, dot)?,
        };
        self.depth -= 1;
        Ok(flow)
    }

    fn exec_named_template(
        &mut self,
        at: usize,
        name: &Rc<str>,
        data: Value,
    ) -> Result<(), OverBudget> {
        self.charge_steps(at, 1)?;
        self.increase_depth(at)?;
        if let Some(body) = self.parsed.named.get(name) {
            let base = std::mem::replace(&mut self.base, self.vars.len());
            self.vars.push(("$", data.clone()));
            self.exec_list(body, &data)?;
            self.vars.truncate(self.base);
            self.base = base;
        }
        self.depth -= 1;
        Ok(())
    }

    fn exec_range(&mut self, branch: &'p Branch<'s>, dot: &Value) -> Result<Flow, OverBudget> {
        let value = self.eval_pipe(&branch.pipe, dot)?;
        self.increase_depth(branch.at)?;
        let over = match &value {
            Value::Unknown => Some(0),
            Value::Nil => None,
            Value::List(list) => Some(list.items.len()).filter(|n| *n > 0),
            Value::Map(map) => Some(map.entries.len()).filter(|n| *n > 0),
            number if number.as_int().is_some() && branch.pipe.vars.len() > 1 => {
                let what = "`range` over a number has one variable";
                self.note_problem(Problem::new(branch.pipe.at, what));
                Some(0)
            }
            other => {
                if let Some(n) = other.as_int() {
                    usize::try_from(n).ok().filter(|n| *n > 0)
                } else {
                    let what = format!(
                        "`range` goes over lists, maps and whole numbers, and this is {}",
                        other.describe_type()
                    );
                    self.note_problem(Problem::new(branch.pipe.at, what));
                    Some(0)
                }
            }
        };
        let flow = match over {
            None => self.exec_list(&branch.otherwise, dot)?,
            Some(count) => {
                self.iterate_range(branch, &value, count)?;
                Flow::Normal
            }
        };
        self.depth -= 1;
        Ok(flow)
    }

    fn iterate_range(
        &mut self,
        branch: &'p Branch<'s>,
        over: &Value,
        count: usize,
    ) -> Result<(), OverBudget> {
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
                return Err(OverBudget(Problem::new(branch.at, what)));
            }
            self.charge_steps(branch.at, 1)?;
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
                    self.assign_variable(branch.at, first, index);
                    self.assign_variable(branch.at, second, item.clone());
                } else if let [only] = vars[..] {
                    self.assign_variable(branch.at, only, item.clone());
                }
            } else {
                let values = [item.clone(), index];
                for (slot, value) in self.vars[scope - vars.len()..].iter_mut().rev().zip(values) {
                    slot.1 = value;
                }
            }
            let flow = self.exec_list(&branch.body, &item)?;
            self.vars.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn print_value(&mut self, value: &Value, at: usize) -> Result<(), OverBudget> {
        let written = || {
            let rest = &self.source[at..];
            rest[..super::lex::end_of_action(rest).unwrap_or(rest.len())]
                .trim_end_matches(['-', ' ', '\n', '\r', '\t'])
        };
        let problem = match value {
            Value::Unknown => return Ok(()),
            Value::Nil => Problem::new(at, format!("`{}` has no value to print", written()))
                .with_help("give it one, or write `default …` behind it"),
            Value::Map(_) | Value::List(_) => {
                let what = format!(
                    "`{}` is {}, Go would print it as no YAML",
                    written(),
                    value.describe_type()
                );
                Problem::new(at, what).with_help(format!(
                    "write `{{{{ {} | toJson }}}}`, or `toYaml` with `nindent`",
                    written()
                ))
            }
            Value::Text(s) if NIL_TEXTS.iter().any(|nothing| s.contains(nothing)) => Problem::new(
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
                Problem::new(at, format!("`{}` is not a number", written()))
            }
            Value::Text(text) => return self.write_text(text, at, false),
            other => {
                return self.write_text(
                    &super::format::print(std::slice::from_ref(other)),
                    at,
                    false,
                );
            }
        };
        self.note_problem(problem);
        Ok(())
    }
}
