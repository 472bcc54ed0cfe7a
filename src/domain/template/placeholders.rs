//! Finds the keys that a template may read, with their positions, without rendering it.

use super::tree::{Branch, Command, List, Node, Operand, OperandKind, Parsed, Pipe};
use super::{TemplateError, line_column, parse, to_template_errors};
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
pub fn find_placeholders(name: &str, source: &str) -> Result<Vec<Placeholder>, TemplateError> {
    let parsed = parse::parse_template(source).and_then(|parsed| match &parsed.problems[..] {
        [] => Ok(parsed),
        unknown => Err(unknown.to_vec()),
    });
    let parsed = parsed.map_err(|problems| {
        // There is at least one; the first is the one to fix first.
        let mut all = to_template_errors(name, source, problems);
        all.swap_remove(0)
    })?;
    let mut walk = Walk {
        parsed: &parsed,
        found: BTreeSet::new(),
        entered: BTreeSet::new(),
        root: Some(Vec::new()),
        vars: Vec::new(),
    };
    walk.walk_list(&parsed.main, &Some(Vec::new()));
    let place = |(offset, path): (usize, String)| {
        let (line, column) = line_column(source, offset);
        Placeholder { line, column, path }
    };
    Ok(walk.found.into_iter().map(place).collect())
}

/// Keys from the root of the context; `None` when the value is unknown.
type KeyPath = Option<Vec<String>>;

struct Walk<'p, 's> {
    parsed: &'p Parsed<'s>,
    found: BTreeSet<(usize, String)>,
    /// Named templates already walked, with the path of the data they were called with.
    entered: BTreeSet<(String, KeyPath)>,
    /// Path of `$`.
    root: KeyPath,
    vars: Vec<(&'s str, KeyPath)>,
}

impl<'p, 's> Walk<'p, 's> {
    fn walk_list(&mut self, list: &'p List<'s>, dot: &KeyPath) {
        let scope = self.vars.len();
        for node in list {
            self.walk_node(node, dot);
        }
        self.vars.truncate(scope);
    }

    fn walk_node(&mut self, node: &'p Node<'s>, dot: &KeyPath) {
        match node {
            Node::Action(pipe) => {
                let path = self.walk_pipe(pipe, dot);
                self.declare_variables(pipe, &[path]);
            }
            Node::If(branch) => self.walk_branch(branch, dot, |_| dot.clone()),
            Node::With(branch) => self.walk_branch(branch, dot, Clone::clone),
            Node::Range(branch) => self.walk_branch(branch, dot, |list| {
                list.clone().map(|mut path| {
                    if let Some(last) = path.last_mut() {
                        last.push_str("[]");
                    }
                    path
                })
            }),
            Node::Template { name, pipe, .. } => {
                let path = pipe.as_ref().and_then(|pipe| self.walk_pipe(pipe, dot));
                if let Some(body) = self.parsed.named.get(name)
                    && self.entered.insert((name.to_string(), path.clone()))
                    && self.entered.len() < 200
                {
                    let outer = (
                        std::mem::replace(&mut self.root, path.clone()),
                        std::mem::take(&mut self.vars),
                    );
                    self.walk_list(body, &path);
                    (self.root, self.vars) = outer;
                }
            }
            Node::Text { .. } | Node::Break | Node::Continue => {}
        }
    }

    fn walk_branch(
        &mut self,
        branch: &'p Branch<'s>,
        dot: &KeyPath,
        inner: impl Fn(&KeyPath) -> KeyPath,
    ) {
        let scope = self.vars.len();
        let path = self.walk_pipe(&branch.pipe, dot);
        let inside = inner(&path);
        match branch.pipe.vars.len() {
            2 => self.declare_variables(&branch.pipe, &[None, inside.clone()]),
            _ => self.declare_variables(&branch.pipe, std::slice::from_ref(&inside)),
        }
        self.walk_list(&branch.body, &inside);
        self.walk_list(&branch.otherwise, dot);
        self.vars.truncate(scope);
    }

    fn declare_variables(&mut self, pipe: &Pipe<'s>, paths: &[KeyPath]) {
        for (name, path) in pipe.vars.iter().zip(paths) {
            // After an assignment, the variable may hold either value.
            let path = if pipe.assigns { None } else { path.clone() };
            self.vars.push((name, path));
        }
    }

    /// Records the keys that a pipeline reads; returns the path of its value when it is just a key.
    fn walk_pipe(&mut self, pipe: &'p Pipe<'s>, dot: &KeyPath) -> KeyPath {
        let mut value = None;
        for command in &pipe.commands {
            value = self.walk_command(command, dot);
        }
        value.filter(|_| pipe.commands.len() == 1)
    }

    fn walk_command(&mut self, command: &'p Command<'s>, dot: &KeyPath) -> KeyPath {
        let value = self.walk_operand(&command.head, dot);
        for arg in &command.args {
            self.walk_operand(arg, dot);
        }
        value.filter(|_| command.args.is_empty())
    }

    fn walk_operand(&mut self, operand: &'p Operand<'s>, dot: &KeyPath) -> KeyPath {
        let (of, fields) = match &operand.kind {
            OperandKind::Dot => (dot.clone(), &[][..]),
            OperandKind::Field(fields) => (dot.clone(), &fields[..]),
            OperandKind::Variable("$", fields) => (self.root.clone(), &fields[..]),
            OperandKind::Variable(name, fields) => {
                let known = self.vars.iter().rev().find(|(n, _)| n == name);
                (known.and_then(|(_, path)| path.clone()), &fields[..])
            }
            OperandKind::Chain(inner, fields) => (self.walk_operand(inner, dot), &fields[..]),
            OperandKind::Pipe(pipe) => return self.walk_pipe(pipe, dot),
            OperandKind::Function(_)
            | OperandKind::Nil
            | OperandKind::Bool(_)
            | OperandKind::Number(_)
            | OperandKind::Text(_)
            | OperandKind::Unknown => {
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
