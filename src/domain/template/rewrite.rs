//! The tree before it runs: every key read, every function called and every value printed goes through a hook that knows
//! its place, notes what is wrong and goes on. So all mistakes of one run come at once, and only those of branches that run.

use super::functions::{self, Function};
use super::origin::marker;
use super::run::Parsed;
use super::{Context, Problem};
use gotmpl::parse::{
    ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr, TextNode,
};
use gotmpl::{FuncMap, Value as Go};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

mod hooks;

/// Names that no template can spell.
const READ: &str = "\u{0}read";
const PRINT: &str = "\u{0}print";
const NO_DATA: &str = "\u{0}no data";
const UNKNOWN: &str = "\u{0}unknown";

fn hooked(function: &str) -> String {
    format!("\u{0}call {function}")
}

/// What the hooks noted.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Arc<Mutex<Vec<Problem>>>);

impl Findings {
    fn note(&self, problem: Problem) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    }

    fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub fn take(&self) -> Vec<Problem> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the source that a hook speaks for.
#[derive(Debug, Clone)]
struct Site {
    offset: usize,
    /// What stands there, as written.
    written: String,
    /// The keys read there.
    keys: Vec<String>,
    /// A missing key is fine here: `default` and the like handle it.
    forgiving: bool,
    /// A missing list is an empty one for what follows.
    in_range: bool,
}

pub(super) struct Rewritten {
    pub main: ListNode,
    pub named: Vec<(String, ListNode)>,
    pub functions: FuncMap,
    /// Found without running.
    pub problems: Vec<Problem>,
}

pub(super) fn rewrite(source: &str, parsed: Parsed, findings: &Findings, context: &Context) -> Rewritten {
    let mut rewriter = Rewriter {
        source,
        names: parsed.named.iter().map(|d| d.name.to_string()).collect(),
        sites: Vec::new(),
        problems: Vec::new(),
    };
    let main = rewriter.list(parsed.main);
    let mut named: Vec<(String, ListNode)> = Vec::new();
    for define in parsed.named {
        let body = rewriter.list(define.body);
        // Of two definitions the empty one gives way, as in Go.
        match named.iter_mut().find(|(name, _)| *name == *define.name) {
            Some((_, old)) if old.is_empty_tree() => *old = body,
            Some(_) => {}
            None => named.push((define.name.to_string(), body)),
        }
    }
    let functions = hooks::functions(rewriter.sites.into(), findings, context);
    Rewritten { main, named, functions, problems: rewriter.problems }
}

struct Rewriter<'a> {
    source: &'a str,
    names: BTreeSet<String>,
    sites: Vec<Site>,
    problems: Vec<Problem>,
}

/// Where in a pipeline an expression stands.
#[derive(Clone, Copy, Default)]
struct Place {
    forgiving: bool,
    in_range: bool,
}

impl Rewriter<'_> {
    fn list(&mut self, list: ListNode) -> ListNode {
        let mut nodes = Vec::with_capacity(list.nodes.len() * 2);
        for node in list.nodes {
            let offset = self.offset_of(&node);
            if let Some(node) = self.node(node) {
                if !matches!(node, Node::Break(_) | Node::Continue(_)) {
                    nodes.push(Node::Text(TextNode { pos: list.pos, text: marker(offset).into() }));
                }
                nodes.push(node);
            }
        }
        ListNode { pos: list.pos, nodes }
    }

    /// Of a text: where it really starts, after what a trim marker took away.
    fn offset_of(&self, node: &Node) -> usize {
        match node {
            Node::List(n) => n.pos.offset,
            Node::Text(n) => {
                let raw = &self.source[self.source.floor_char_boundary(n.pos.offset)..];
                let trimmed = raw.trim_start();
                match raw.starts_with(&*n.text) || !trimmed.starts_with(&*n.text) {
                    true => n.pos.offset,
                    false => self.source.len() - trimmed.len(),
                }
            }
            Node::Action(n) => n.pos.offset,
            Node::If(n) | Node::Range(n) | Node::With(n) => n.pos.offset,
            Node::Template(n) => n.pos.offset,
            Node::Define(n) => n.pos.offset,
            Node::Break(pos) | Node::Continue(pos) => pos.offset,
        }
    }

    fn node(&mut self, node: Node) -> Option<Node> {
        Some(match node {
            Node::Action(action) => self.action(action),
            Node::If(branch) => Node::If(self.branch(branch, Place::default())),
            Node::With(branch) => Node::With(self.branch(branch, Place::default())),
            Node::Range(branch) => Node::Range(self.branch(branch, Place { in_range: true, ..Place::default() })),
            Node::List(list) => Node::List(self.list(list)),
            Node::Template(mut template) => {
                if !self.names.contains(template.name.as_str()) {
                    let near = functions::nearest(&template.name, self.names.iter().map(String::as_str));
                    let problem = Problem::new(
                        template.pos.offset,
                        format!("no template {:?} is defined", template.name.as_str()),
                    );
                    self.problems.push(match near {
                        Some(near) => problem.help(format!("did you mean {near:?}?")),
                        None => problem.help("add it: `{{ define \"…\" }} … {{ end }}`"),
                    });
                    return None;
                }
                // Go hands nothing on unless told to; the engine would hand on the dot.
                let pos = template.pos;
                template.pipe = Some(match template.pipe {
                    Some(pipe) => self.pipe(pipe, Place::default()),
                    None => {
                        let site = self.site(pos, String::new(), Vec::new(), Place::default());
                        pipe_of(CommandNode { pos, args: vec![identifier(pos, NO_DATA), site] })
                    }
                });
                Node::Template(template)
            }
            Node::Define(_) => return None,
            other @ (Node::Text(_) | Node::Break(_) | Node::Continue(_)) => other,
        })
    }

    fn action(&mut self, action: ActionNode) -> Node {
        let pos = action.pos;
        let mut pipe = self.pipe(action.pipe, Place::default());
        if pipe.decl.is_empty() {
            let end = self.source[pos.offset..].find("}}").map_or(self.source.len(), |at| pos.offset + at);
            let written = self.source[pos.offset..end].trim_end_matches(['-', ' ', '\n', '\r', '\t']).to_owned();
            let site = self.site(pos, written, Vec::new(), Place::default());
            pipe.commands.push(CommandNode { pos, args: vec![identifier(pos, PRINT), site] });
        }
        Node::Action(ActionNode { pos, pipe })
    }

    fn branch(&mut self, branch: BranchNode, place: Place) -> BranchNode {
        BranchNode {
            pos: branch.pos,
            pipe: self.pipe(branch.pipe, place),
            body: self.list(branch.body),
            else_body: branch.else_body.map(|list| self.list(list)),
        }
    }

    fn pipe(&mut self, mut pipe: PipeNode, place: Place) -> PipeNode {
        // Whether the next command forgives what this one does not find.
        let mut forgiven: Vec<bool> =
            pipe.commands[1..].iter().map(|c| head(c).is_some_and(functions::forgives)).collect();
        forgiven.push(false);
        let last = pipe.commands.len() - 1;
        let commands = std::mem::take(&mut pipe.commands);
        for (i, command) in commands.into_iter().enumerate() {
            let place = Place { forgiving: forgiven[i], in_range: place.in_range && i == last };
            pipe.commands.push(self.command(command, place, i > 0));
        }
        pipe
    }

    fn command(&mut self, command: CommandNode, place: Place, piped: bool) -> CommandNode {
        let pos = command.pos;
        let function = head(&command).map(str::to_owned);
        let mut args = command.args.into_iter();
        let Some(first) = args.next() else { return CommandNode { pos, args: Vec::new() } };
        let Some(function) = function else {
            let more: Vec<Expr> = args.collect();
            if piped || !more.is_empty() {
                let written = self.written(first.pos());
                self.problems.push(
                    Problem::new(first.pos().offset, format!("`{written}` is no function, it takes no arguments"))
                        .help("is a function's name, or a `|`, missing?"),
                );
            }
            return CommandNode { pos, args: vec![self.expr(first, place)] };
        };
        let inside = Place { forgiving: functions::forgives(&function), in_range: false };
        let args: Vec<Expr> = args.map(|arg| self.expr(arg, inside)).collect();
        let mut call = self.call(first.pos(), &function);
        call.extend(args);
        match first {
            // `f.x`: a field of what the function gives.
            Expr::Chain(at, _, fields) => {
                let inner = Expr::Pipe(at, pipe_of(CommandNode { pos, args: call }));
                CommandNode { pos, args: vec![self.read(at, inner, &fields, "", place)] }
            }
            _ => CommandNode { pos, args: call },
        }
    }

    /// The words that call a function: the engine's own as they are, ours and unknown ones through a hook.
    fn call(&mut self, pos: Pos, function: &str) -> Vec<Expr> {
        if functions::is_builtin(function) {
            return vec![identifier(pos, function)];
        }
        let hook = match functions::find(function) {
            Some(_) => hooked(function),
            None => {
                self.problems.push(
                    Problem::new(pos.offset, format!("there is no function `{function}`"))
                        .help(functions::instead(function)),
                );
                UNKNOWN.to_owned()
            }
        };
        let site = self.site(pos, function.to_owned(), Vec::new(), Place::default());
        vec![identifier(pos, &hook), site]
    }

    fn expr(&mut self, expr: Expr, place: Place) -> Expr {
        match expr {
            Expr::Field(pos, fields) => self.read(pos, Expr::Dot(pos), &fields, "", place),
            Expr::Variable(pos, name, fields) if !fields.is_empty() => {
                self.read(pos, Expr::Variable(pos, name.clone(), Vec::new()), &fields, &name, place)
            }
            Expr::Chain(pos, inner, fields) => {
                let inner = self.expr(*inner, Place { in_range: false, ..place });
                self.read(pos, inner, &fields, "(…)", place)
            }
            Expr::Identifier(pos, name) => Expr::Pipe(pos, pipe_of(CommandNode { pos, args: self.call(pos, &name) })),
            Expr::Pipe(pos, pipe) => Expr::Pipe(pos, self.pipe(pipe, place)),
            other => other,
        }
    }

    fn read(&mut self, pos: Pos, of: Expr, fields: &[SmolStr], base: &str, place: Place) -> Expr {
        let keys: Vec<String> = fields.iter().map(|f| f.to_string()).collect();
        let written = format!("{base}.{}", keys.join("."));
        let site = self.site(pos, written, keys, place);
        Expr::Pipe(pos, pipe_of(CommandNode { pos, args: vec![identifier(pos, READ), site, of] }))
    }

    fn site(&mut self, pos: Pos, written: String, keys: Vec<String>, place: Place) -> Expr {
        let Place { forgiving, in_range } = place;
        self.sites.push(Site { offset: pos.offset, written, keys, forgiving, in_range });
        Expr::Number(pos, Number::Int(self.sites.len() as i64 - 1))
    }

    fn written(&self, pos: Pos) -> &str {
        let rest = &self.source[self.source.floor_char_boundary(pos.offset)..];
        let end = rest.find([' ', '\n', '|', ')', '}']).unwrap_or(rest.len());
        &rest[..end]
    }
}

/// The function a command calls.
fn head(command: &CommandNode) -> Option<&str> {
    match command.args.first()? {
        Expr::Identifier(_, name) => Some(name),
        Expr::Chain(_, inner, _) => match &**inner {
            Expr::Identifier(_, name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn identifier(pos: Pos, name: &str) -> Expr {
    Expr::Identifier(pos, SmolStr::from(name))
}

fn pipe_of(command: CommandNode) -> PipeNode {
    PipeNode { pos: command.pos, decl: Vec::new(), commands: vec![command], is_assign: false }
}
