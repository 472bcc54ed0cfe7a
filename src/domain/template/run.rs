//! One rendering: check, parse, rewrite, execute, collect what was found.

use super::origin::Rendered;
use super::rewrite::{Findings, Rewritten, rewrite};
use super::value::to_go;
use super::{Context, Problem, blocks};
use gotmpl::parse::{DefineNode, ListNode, Node, Parser, is_empty_tree};
use gotmpl::{Template, TemplateError as GoError};

/// The main template among the named ones: no template can be called so.
const MAIN: &str = "\u{0}main";
/// Stands at the end of the source: what parses must reach it, or blocks are unbalanced.
const SENTINEL: char = '\u{3}';
/// Iterations of all `range` together; a manifest is not a program.
const MAX_ITERATIONS: u64 = 100_000;
/// A template larger than any object a cluster would take.
const MAX_SOURCE: usize = 2 << 20;

#[derive(Debug)]
pub(super) struct Done<'a> {
    pub text: String,
    source: &'a str,
    rendered: Rendered,
}

impl Done<'_> {
    /// The byte of the source that wrote this place of the text; column 0 is the line's first word.
    pub fn source_of(&self, line: usize, column: usize) -> usize {
        self.rendered.place(self.source, line, column)
    }
}

/// A template whose blocks are balanced, and its named templates.
pub(super) struct Parsed {
    pub main: ListNode,
    pub named: Vec<DefineNode>,
}

pub(super) fn parse(source: &str) -> Result<Parsed, Vec<Problem>> {
    if source.len() > MAX_SOURCE {
        return Err(vec![Problem::new(0, format!("the template is larger than {MAX_SOURCE} bytes"))]);
    }
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some(at) = source.find(control) {
        return Err(vec![Problem::new(at, "a control character: YAML allows none")]);
    }
    let problems = blocks::check(source);
    if !problems.is_empty() {
        return Err(problems);
    }
    let ended = format!("{source}{SENTINEL}");
    let parsed = Parser::new(&ended, "{{", "}}").and_then(Parser::parse);
    let (mut main, named) = parsed.map_err(|e| vec![parse_problem(source, e)])?;
    if !take_sentinel(&mut main) {
        return Err(vec![
            Problem::new(source.len(), "the blocks of this template are not balanced")
                .help("give each `if`, `range`, `with`, `define` and `block` its own `end`"),
        ]);
    }
    duplicate(&named).map_or(Ok(Parsed { main, named }), |problem| Err(vec![problem]))
}

fn take_sentinel(main: &mut ListNode) -> bool {
    let Some(Node::Text(last)) = main.nodes.last_mut() else { return false };
    let Some(text) = last.text.strip_suffix(SENTINEL) else { return false };
    last.text = text.into();
    true
}

fn duplicate(named: &[DefineNode]) -> Option<Problem> {
    let full: Vec<&DefineNode> = named.iter().filter(|d| !d.body.nodes.iter().all(is_empty_tree)).collect();
    let again = full.iter().enumerate().find(|(i, d)| full[..*i].iter().any(|e| e.name == d.name));
    again.map(|(_, d)| Problem::new(d.pos.offset, format!("the template {:?} is defined twice", d.name.as_str())))
}

fn parse_problem(source: &str, error: GoError) -> Problem {
    let (GoError::Parse { line, col, message, .. } | GoError::Lex { line, col, message, .. }) = &error else {
        return Problem::new(0, error.to_string());
    };
    let start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    let within = rest.char_indices().nth(col.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    let problem = Problem::new(start + within, format!("this is no Go template: {message}"));
    match message.contains("bad character") && message.contains('-') {
        true => problem.help(r#"a key with a dash is read by `index .Values "the-key"`"#),
        false => problem,
    }
}

pub(super) fn run<'a>(source: &'a str, context: &Context) -> Result<Done<'a>, Vec<Problem>> {
    let parsed = parse(source)?;
    let findings = Findings::default();
    let Rewritten { main, named, functions, problems } = rewrite(source, parsed, &findings, context);
    let mut template = Template::new(MAIN).max_range_iters(MAX_ITERATIONS).funcs(functions).add_parse_tree(MAIN, main);
    for (name, body) in named {
        template = template.add_parse_tree(&name, body);
    }
    let mut raw = String::new();
    let result = template.execute_template_fmt(&mut raw, MAIN, &to_go(&context.data()));
    let rendered = Rendered::from_raw(&raw);
    let mut all = problems;
    all.extend(findings.take());
    match result {
        // What stops a rendering after something was missing is most often only the consequence.
        Err(error) if all.is_empty() => all.push(execution_problem(rendered.last(), &error)),
        _ => {}
    }
    if all.is_empty() {
        all = rendered.nothing(source);
    }
    match all.is_empty() {
        true => Ok(Done { text: rendered.text.clone(), source, rendered }),
        false => Err(all),
    }
}

fn execution_problem(offset: usize, error: &GoError) -> Problem {
    match error {
        GoError::Exec(message) => Problem::new(offset, message.clone()),
        GoError::RecursionLimit => Problem::new(offset, "the templates call each other without end"),
        GoError::RangeIterLimit => {
            Problem::new(offset, format!("`range` runs more than {MAX_ITERATIONS} times in this template"))
        }
        other => Problem::new(offset, other.to_string()),
    }
}
