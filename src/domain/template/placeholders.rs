//! What a template asks for, found without rendering: the keys it may read, each with its places.

use super::{TemplateError, errors, line_column, run};
use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode};
use std::collections::{BTreeMap, BTreeSet};

/// A key that a template reads, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placeholder {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// `.AppStack.image.backend`; below a list's items `.Values.hosts[].name`.
    pub path: String,
}

/// All places where the template reads a key of its context, in order. Inside `with`, `range`, variables and named templates
/// keys are followed back to the context as far as the text alone tells.
pub fn placeholders(name: &str, source: &str) -> Result<Vec<Placeholder>, TemplateError> {
    let parsed = run::parse(source).map_err(|problems| {
        // There is at least one; the first in order is the one to mend first.
        let mut all = errors(name, source, problems);
        all.swap_remove(0)
    })?;
    let named: BTreeMap<&str, &ListNode> = parsed.named.iter().map(|d| (d.name.as_str(), &d.body)).collect();
    let mut walk =
        Walk { named, found: BTreeSet::new(), entered: BTreeSet::new(), root: Some(Vec::new()), vars: Vec::new() };
    walk.list(&parsed.main, &Some(Vec::new()));
    let place = |(offset, path): (usize, String)| {
        let (line, column) = line_column(source, offset);
        Placeholder { line, column, path }
    };
    Ok(walk.found.into_iter().map(place).collect())
}

/// Keys from the context down; `None` when it is not known which value this is.
type Path = Option<Vec<String>>;

struct Walk<'a> {
    named: BTreeMap<&'a str, &'a ListNode>,
    found: BTreeSet<(usize, String)>,
    /// Named templates already walked, with what they were called with.
    entered: BTreeSet<(String, Path)>,
    /// What `$` is.
    root: Path,
    vars: Vec<(String, Path)>,
}

impl Walk<'_> {
    fn list(&mut self, list: &ListNode, dot: &Path) {
        let scope = self.vars.len();
        for node in &list.nodes {
            self.node(node, dot);
        }
        self.vars.truncate(scope);
    }

    fn node(&mut self, node: &Node, dot: &Path) {
        match node {
            Node::Action(action) => {
                let path = self.pipe(&action.pipe, dot);
                self.declare(&action.pipe, &[path]);
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
            Node::Template(call) => {
                let path = call.pipe.as_ref().and_then(|pipe| self.pipe(pipe, dot));
                if let Some(body) = self.named.get(call.name.as_str()).copied()
                    && self.entered.insert((call.name.to_string(), path.clone()))
                    && self.entered.len() < 200
                {
                    let outer = (std::mem::replace(&mut self.root, path.clone()), std::mem::take(&mut self.vars));
                    self.list(body, &path);
                    (self.root, self.vars) = outer;
                }
            }
            Node::List(list) => self.list(list, dot),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }

    fn branch(&mut self, branch: &BranchNode, dot: &Path, inner: impl Fn(&Path) -> Path) {
        let scope = self.vars.len();
        let path = self.pipe(&branch.pipe, dot);
        let inside = inner(&path);
        match branch.pipe.decl.len() {
            2 => self.declare(&branch.pipe, &[None, inside.clone()]),
            _ => self.declare(&branch.pipe, std::slice::from_ref(&inside)),
        }
        self.list(&branch.body, &inside);
        if let Some(list) = &branch.else_body {
            self.list(list, dot);
        }
        self.vars.truncate(scope);
    }

    fn declare(&mut self, pipe: &PipeNode, paths: &[Path]) {
        for (name, path) in pipe.decl.iter().zip(paths) {
            // After an assignment a variable may be either value.
            let path = if pipe.is_assign { None } else { path.clone() };
            self.vars.push((name.to_string(), path));
        }
    }

    /// Notes what a pipeline reads; the path of its value when it is a mere key.
    fn pipe(&mut self, pipe: &PipeNode, dot: &Path) -> Path {
        let mut value = None;
        for command in &pipe.commands {
            value = self.command(command, dot);
        }
        value.filter(|_| pipe.commands.len() == 1)
    }

    fn command(&mut self, command: &CommandNode, dot: &Path) -> Path {
        let mut value = None;
        for arg in &command.args {
            value = self.expr(arg, dot);
        }
        value.filter(|_| command.args.len() == 1)
    }

    fn expr(&mut self, expr: &Expr, dot: &Path) -> Path {
        let (of, fields) = match expr {
            Expr::Dot(_) => (dot.clone(), &[][..]),
            Expr::Field(_, fields) => (dot.clone(), &fields[..]),
            Expr::Variable(_, name, fields) if *name == "$" => (self.root.clone(), &fields[..]),
            Expr::Variable(_, name, fields) => {
                let known = self.vars.iter().rev().find(|(n, _)| *n == **name);
                (known.and_then(|(_, path)| path.clone()), &fields[..])
            }
            Expr::Chain(_, inner, fields) => (self.expr(inner, dot), &fields[..]),
            Expr::Pipe(_, pipe) => return self.pipe(pipe, dot),
            _ => return None,
        };
        let mut path = of?;
        path.extend(fields.iter().map(|f| f.to_string()));
        let reads = !fields.is_empty() || path.last().is_some_and(|p| p.ends_with("[]"));
        if reads {
            self.found.insert((expr.pos().offset, format!(".{}", path.join("."))));
        }
        Some(path)
    }
}
