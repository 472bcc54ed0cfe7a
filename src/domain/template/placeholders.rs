//! Finds the keys that a template may read, with their positions, without rendering it.

use super::tree::{Branch, Command, Kind, List, Node, Operand, Parsed, Pipe};
use super::{TemplateError, errors, line_column, parse};
use std::collections::BTreeSet;

/// A key that a template reads, at one position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placeholder {
    /// Line in the template's source, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// For example `.AppStack.image.backend`, or `.Values.hosts[].name` for a key of a list's
    /// items.
    pub path: String,
}

/// Finds every position where the template reads a key of its context, in order. Inside `with`,
/// `range`, variables and named templates, keys are traced back to the context as far as possible
/// without rendering.
pub fn placeholders(name: &str, source: &str) -> Result<Vec<Placeholder>, TemplateError> {
    let parsed = parse::parse(source).and_then(|parsed| match &parsed.problems[..] {
        [] => Ok(parsed),
        unknown => Err(unknown.to_vec()),
    });
    let parsed = parsed.map_err(|problems| {
        // There is at least one; the first is the one to fix first.
        let mut all = errors(name, source, problems);
        all.swap_remove(0)
    })?;
    let mut walk = Walk {
        parsed: &parsed,
        found: BTreeSet::new(),
        entered: BTreeSet::new(),
        root: Some(Vec::new()),
        vars: Vec::new(),
    };
    walk.list(&parsed.main, &Some(Vec::new()));
    let place = |(offset, path): (usize, String)| {
        let (line, column) = line_column(source, offset);
        Placeholder { line, column, path }
    };
    Ok(walk.found.into_iter().map(place).collect())
}

/// Keys from the root of the context; `None` when the value is unknown.
type Path = Option<Vec<String>>;

struct Walk<'p, 's> {
    parsed: &'p Parsed<'s>,
    found: BTreeSet<(usize, String)>,
    /// Named templates already walked, with the path of the data they were called with.
    entered: BTreeSet<(String, Path)>,
    /// Path of `$`.
    root: Path,
    vars: Vec<(&'s str, Path)>,
}

impl<'p, 's> Walk<'p, 's> {
    fn list(&mut self, list: &'p List<'s>, dot: &Path) {
        let scope = self.vars.len();
        for node in list {
            self.node(node, dot);
        }
        self.vars.truncate(scope);
    }

    fn node(&mut self, node: &'p Node<'s>, dot: &Path) {
        match node {
            Node::Action(pipe) => {
                let path = self.pipe(pipe, dot);
                self.declare(pipe, &[path]);
            }
            Node::If(branch) => self.branch(branch, dot, |_| dot.clone()),
            Node::With(branch) => self.branch(branch, dot, Clone::clone),
            Node::Range(branch) => self.branch(branch, dot, |list| {
                list.clone().map(|mut path| {
                    if let Some(last) = path.last_mut() {
                        last.push_str("[]");
                    }
                    path
                })
            }),
            Node::Template { name, pipe, .. } => {
                let path = pipe.as_ref().and_then(|pipe| self.pipe(pipe, dot));
                if let Some(body) = self.parsed.named.get(name)
                    && self.entered.insert((name.to_string(), path.clone()))
                    && self.entered.len() < 200
                {
                    let outer = (
                        std::mem::replace(&mut self.root, path.clone()),
                        std::mem::take(&mut self.vars),
                    );
                    self.list(body, &path);
                    (self.root, self.vars) = outer;
                }
            }
            Node::Text { .. } | Node::Break | Node::Continue => {}
        }
    }

    fn branch(&mut self, branch: &'p Branch<'s>, dot: &Path, inner: impl Fn(&Path) -> Path) {
        let scope = self.vars.len();
        let path = self.pipe(&branch.pipe, dot);
        let inside = inner(&path);
        match branch.pipe.vars.len() {
            2 => self.declare(&branch.pipe, &[None, inside.clone()]),
            _ => self.declare(&branch.pipe, std::slice::from_ref(&inside)),
        }
        self.list(&branch.body, &inside);
        self.list(&branch.otherwise, dot);
        self.vars.truncate(scope);
    }

    fn declare(&mut self, pipe: &Pipe<'s>, paths: &[Path]) {
        for (name, path) in pipe.vars.iter().zip(paths) {
            // After an assignment, the variable may hold either value.
            let path = if pipe.assigns { None } else { path.clone() };
            self.vars.push((name, path));
        }
    }

    /// Records the keys that a pipeline reads; returns the path of its value when it is just a key.
    fn pipe(&mut self, pipe: &'p Pipe<'s>, dot: &Path) -> Path {
        let mut value = None;
        for command in &pipe.commands {
            value = self.command(command, dot);
        }
        value.filter(|_| pipe.commands.len() == 1)
    }

    fn command(&mut self, command: &'p Command<'s>, dot: &Path) -> Path {
        let value = self.operand(&command.head, dot);
        for arg in &command.args {
            self.operand(arg, dot);
        }
        value.filter(|_| command.args.is_empty())
    }

    fn operand(&mut self, operand: &'p Operand<'s>, dot: &Path) -> Path {
        let (of, fields) = match &operand.kind {
            Kind::Dot => (dot.clone(), &[][..]),
            Kind::Field(fields) => (dot.clone(), &fields[..]),
            Kind::Variable("$", fields) => (self.root.clone(), &fields[..]),
            Kind::Variable(name, fields) => {
                let known = self.vars.iter().rev().find(|(n, _)| n == name);
                (known.and_then(|(_, path)| path.clone()), &fields[..])
            }
            Kind::Chain(inner, fields) => (self.operand(inner, dot), &fields[..]),
            Kind::Pipe(pipe) => return self.pipe(pipe, dot),
            Kind::Function(_)
            | Kind::Nil
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::Text(_)
            | Kind::Unknown => {
                return None;
            }
        };
        let mut path = of?;
        path.extend(fields.iter().map(|f| f.to_string()));
        let reads = !fields.is_empty() || path.last().is_some_and(|p| p.ends_with("[]"));
        if reads {
            self.found
                .insert((operand.at, format!(".{}", path.join("."))));
        }
        Some(path)
    }
}
