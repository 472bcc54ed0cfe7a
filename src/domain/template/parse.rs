//! Parses tokens to a tree by Go's grammar. An error ends its action, not the parsing, so all
//! errors are reported at once. Unknown variables, functions and named templates are errors even in
//! branches that would not run.

mod pipeline;

use super::lex::{self, Token, TokenKind};
use super::literal;
use super::missing_spaces;
use super::tree::{Branch, List, Node, Parsed, Pipe};
use super::{Problem, functions};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(super) const BLOCKS: [&str; 5] = ["if", "with", "range", "define", "block"];

/// Limit on nested blocks (an `else if` counts as one) and on nested parentheses, since each level
/// uses stack.
const MAX_DEPTH: usize = 40;
/// Limit on the source in bytes; larger than any object a cluster would accept.
const MAX_SOURCE: usize = 2 << 20;

pub(super) fn parse_template(source: &str) -> Result<Parsed<'_>, Vec<Problem>> {
    if source.len() > MAX_SOURCE {
        return Err(vec![Problem::new(
            0,
            format!("the template is larger than {MAX_SOURCE} bytes"),
        )]);
    }
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some(at) = source.find(control) {
        return Err(vec![Problem::new(
            at,
            "a control character: YAML allows none",
        )]);
    }
    let mut parser = Parser::new(source);
    match parser.parse_document() {
        Ok(main) if parser.problems.is_empty() => Ok(Parsed {
            main,
            named: parser.named,
            problems: parser.unknown,
        }),
        Ok(_) => {
            parser.problems.append(&mut parser.unknown);
            Err(parser.problems)
        }
        Err(TooDeep(at)) => Err(vec![
            Problem::new(
                at,
                format!("this nests in a depth of more than {MAX_DEPTH}"),
            )
            .with_help("say it flatter, or with a named template"),
        ]),
    }
}

/// Nesting exceeds the limit at this byte; parsing ends.
struct TooDeep(usize);

/// Why a list of nodes ended.
enum Ending {
    End,
    /// At this byte; the second word of `else if` and `else with` is not read yet.
    Else(usize),
    Source,
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token<'s>>,
    next: usize,
    vars: Vec<&'s str>,
    ranges: usize,
    depth: usize,
    depth_of_parens: usize,
    named: BTreeMap<Rc<str>, List<'s>>,
    /// Syntax errors.
    problems: Vec<Problem>,
    /// Unknown names.
    unknown: Vec<Problem>,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Self {
        let tokens = lex::tokenize(source);
        Parser {
            source,
            tokens,
            next: 0,
            vars: vec!["$"],
            ranges: 0,
            depth: 0,
            depth_of_parens: 0,
            named: BTreeMap::new(),
            problems: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn peek(&self) -> Token<'s> {
        self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take_token(&mut self) -> Token<'s> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == TokenKind::Space {
            self.next += 1;
        }
    }

    fn peek_word(&mut self) -> Token<'s> {
        self.skip_space();
        self.peek()
    }

    fn take_word(&mut self) -> Token<'s> {
        self.skip_space();
        self.take_token()
    }

    fn note_problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Skips to the end of the action.
    fn skip_action(&mut self) {
        while !matches!(
            self.peek().kind,
            TokenKind::Close
                | TokenKind::Bad(_)
                | TokenKind::End
                | TokenKind::Text
                | TokenKind::Open
        ) {
            self.next += 1;
        }
        if matches!(self.peek().kind, TokenKind::Close | TokenKind::Bad(_)) {
            self.next += 1;
        }
    }

    fn parse_document(&mut self) -> Result<List<'s>, TooDeep> {
        let mut main = Vec::new();
        loop {
            match self.parse_list(&mut main, true)? {
                Ending::Source => break,
                Ending::End | Ending::Else(_) => {}
            }
        }
        let known: BTreeSet<Rc<str>> = self.named.keys().cloned().collect();
        let mut unknown = Vec::new();
        self.named
            .values()
            .chain([&main])
            .for_each(|list| find_undefined(list, &known, &mut unknown));
        self.unknown.append(&mut unknown);
        Ok(main)
    }

    /// Parses nodes up to an `end`, an `else` or the end of the source. At the `top` level there is
    /// no block that `end` or `else` could belong to.
    fn parse_list(&mut self, out: &mut List<'s>, top: bool) -> Result<Ending, TooDeep> {
        loop {
            let token = self.take_token();
            match token.kind {
                TokenKind::Text => out.push(Node::Text {
                    at: token.at,
                    text: token.text,
                }),
                TokenKind::Open => {
                    if let Some(ending) = self.parse_action(token.at, out, top)? {
                        return Ok(ending);
                    }
                }
                TokenKind::Bad(why) => self.note_problem(explain_bad_token(token.at, why)),
                TokenKind::End => return Ok(Ending::Source),
                // Not reached: an action is always read to its end.
                _ => {}
            }
        }
    }

    fn parse_action(
        &mut self,
        open: usize,
        out: &mut List<'s>,
        top: bool,
    ) -> Result<Option<Ending>, TooDeep> {
        let first = self.peek_word();
        if first.kind == TokenKind::Keyword && first.text != "nil" {
            self.next += 1;
            return self.parse_keyword(first, open, out, top);
        }
        if first.kind == TokenKind::Identifier && functions::find_function(first.text).is_none() {
            if matches!(first.text, "endif" | "endrange" | "endwith") {
                let what = format!("there is no `{}`", first.text);
                self.note_problem(
                    Problem::new(open, what).with_help("every block ends with `{{ end }}`"),
                );
                self.skip_action();
                return Ok((!top).then_some(Ending::End));
            }
            if let Some((keyword, problem)) = self.find_missing_spaces(open) {
                self.note_problem(problem);
                self.skip_action();
                return match keyword {
                    "define" | "block" => self
                        .parse_definition(Rc::from(""), open, keyword)
                        .map(|()| None),
                    "" | "template" | "elseif" => Ok(None),
                    _ => self
                        .parse_branch(keyword, open, Pipe::default())
                        .map(|_| None),
                };
            }
        }
        if let Some(pipe) = self.parse_whole_pipeline(open, "an action")? {
            out.push(Node::Action(pipe));
        }
        Ok(None)
    }

    fn parse_keyword(
        &mut self,
        word: Token<'s>,
        open: usize,
        out: &mut List<'s>,
        top: bool,
    ) -> Result<Option<Ending>, TooDeep> {
        match word.text {
            "end" => {
                self.expect_close(open, "`end`");
                if top {
                    self.note_problem(
                        Problem::new(open, "this `end` closes nothing")
                            .with_help("remove it, or open its block"),
                    );
                }
                return Ok((!top).then_some(Ending::End));
            }
            "else" => {
                if top {
                    self.note_stray_else(open);
                    self.skip_action();
                    return Ok(None);
                }
                return Ok(Some(Ending::Else(open)));
            }
            "break" | "continue" => {
                self.expect_close(open, word.text);
                if self.ranges == 0 {
                    self.note_problem(Problem::new(
                        open,
                        format!("`{}` outside a `range`", word.text),
                    ));
                }
                out.push(if word.text == "break" {
                    Node::Break
                } else {
                    Node::Continue
                });
            }
            "template" => out.extend(self.parse_template_call(word.at, open)?),
            "define" => {
                if !top {
                    let problem = Problem::new(open, "a `define` inside another block");
                    self.note_problem(problem.with_help("move it to the top level"));
                }
                let name = self.parse_template_name(open);
                if name.is_some() {
                    self.expect_close(open, "`define`");
                }
                self.parse_definition(name.unwrap_or_default(), word.at, "define")?;
            }
            "block" => out.extend(self.parse_block(word.at, open)?),
            keyword => {
                let scope = self.vars.len();
                let pipe = self
                    .parse_whole_pipeline(open, keyword)?
                    .unwrap_or_default();
                let branch = self.parse_branch(keyword, open, pipe)?;
                self.vars.truncate(scope);
                out.push(match keyword {
                    "if" => Node::If(branch),
                    "with" => Node::With(branch),
                    _ => Node::Range(branch),
                });
            }
        }
        Ok(None)
    }

    fn parse_template_call(&mut self, at: usize, open: usize) -> Result<Option<Node<'s>>, TooDeep> {
        let Some(name) = self.parse_template_name(open) else {
            return Ok(None);
        };
        let pipe = if self.peek_word().kind == TokenKind::Close {
            self.next += 1;
            None
        } else {
            self.parse_whole_pipeline(open, "`template`")?
        };
        Ok(Some(Node::Template { at, name, pipe }))
    }

    fn parse_block(&mut self, at: usize, open: usize) -> Result<Option<Node<'s>>, TooDeep> {
        let name = self.parse_template_name(open);
        let pipe = match name {
            Some(_) => self.parse_whole_pipeline(open, "`block`")?,
            None => None,
        };
        self.parse_definition(name.clone().unwrap_or_default(), at, "block")?;
        Ok(name.map(|name| Node::Template { at, name, pipe }))
    }

    fn increase_depth(&mut self, at: usize) -> Result<(), TooDeep> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err(TooDeep(at))
        } else {
            Ok(())
        }
    }

    /// Parses what follows the opening action of `if`, `with` or `range`.
    fn parse_branch(
        &mut self,
        keyword: &str,
        open: usize,
        pipe: Pipe<'s>,
    ) -> Result<Branch<'s>, TooDeep> {
        self.increase_depth(open)?;
        let scope = self.vars.len();
        let mut branch = Branch {
            at: open,
            pipe,
            body: Vec::new(),
            otherwise: Vec::new(),
        };
        let loops = usize::from(keyword == "range");
        self.ranges += loops;
        let mut ending = self.parse_list(&mut branch.body, false)?;
        self.ranges -= loops;
        let mut has_else = false;
        loop {
            match ending {
                Ending::End => break,
                Ending::Source => {
                    let what = format!("this `{keyword}` is never closed");
                    self.note_problem(
                        Problem::new(open, what).with_help("add `{{ end }}` where it should end"),
                    );
                    break;
                }
                Ending::Else(at) => {
                    let word = self.peek_word();
                    if has_else {
                        self.note_problem(Problem::new(
                            at,
                            format!("this `{keyword}` has an `else` already"),
                        ));
                    }
                    if word.kind == TokenKind::Keyword && word.text == keyword && keyword != "range"
                    {
                        self.next += 1;
                        // One `end` closes both.
                        self.parse_keyword(word, at, &mut branch.otherwise, false)?;
                        break;
                    }
                    self.expect_close(at, "`else`");
                    has_else = true;
                    ending = self.parse_list(&mut branch.otherwise, false)?;
                }
            }
        }
        self.vars.truncate(scope);
        self.depth -= 1;
        Ok(branch)
    }

    /// Parses what follows the opening action of `define` or `block`.
    fn parse_definition(&mut self, name: Rc<str>, at: usize, keyword: &str) -> Result<(), TooDeep> {
        self.increase_depth(at)?;
        let outer = (
            std::mem::replace(&mut self.vars, vec!["$"]),
            std::mem::take(&mut self.ranges),
        );
        let mut body = Vec::new();
        loop {
            match self.parse_list(&mut body, false)? {
                Ending::End => break,
                Ending::Source => {
                    let open = self.source[..at].rfind("{{").unwrap_or(at);
                    let what = format!("this `{keyword}` is never closed");
                    self.note_problem(
                        Problem::new(open, what).with_help("add `{{ end }}` where it should end"),
                    );
                    break;
                }
                Ending::Else(at) => {
                    self.note_stray_else(at);
                    self.skip_action();
                }
            }
        }
        (self.vars, self.ranges) = outer;
        self.depth -= 1;
        // Of two definitions, one that is empty is ignored.
        match self.named.get(&name) {
            Some(before) if !is_empty(before) => {
                if !is_empty(&body) && !name.is_empty() {
                    self.note_problem(Problem::new(
                        at,
                        format!("the template {:?} is defined twice", &*name),
                    ));
                }
            }
            _ => {
                self.named.insert(name, body);
            }
        }
        Ok(())
    }

    fn note_stray_else(&mut self, at: usize) {
        self.note_problem(Problem::new(
            at,
            "this `else` belongs to no `if`, `with` or `range`",
        ));
    }

    /// Expects the end of an action that takes no more arguments.
    fn expect_close(&mut self, open: usize, what: &str) {
        let token = self.take_word();
        match token.kind {
            TokenKind::Close => return,
            TokenKind::Bad(why) => {
                self.next -= 1;
                self.note_problem(explain_bad_token(token.at, why));
            }
            _ => {
                let problem = Problem::new(
                    token.at,
                    format!("{what} stands alone, and here follows `{}`", token.text),
                );
                self.next -= 1;
                let problem = self
                    .find_missing_spaces(open)
                    .map_or(problem, |(_, problem)| problem);
                self.note_problem(problem);
            }
        }
        self.skip_action();
    }

    fn parse_template_name(&mut self, open: usize) -> Option<Rc<str>> {
        let token = self.take_word();
        let name = match token.kind {
            TokenKind::Quoted | TokenKind::Raw => {
                literal::unquote(token.text).map_err(|why| Problem::new(token.at, why))
            }
            TokenKind::Bad(why) => Err(explain_bad_token(token.at, why)),
            _ => Err(Problem::new(token.at, "a template's name stands in quotes")),
        };
        match name {
            Ok(name) => Some(name.into()),
            Err(problem) => {
                self.next -= 1;
                let problem = self
                    .find_missing_spaces(open)
                    .map_or(problem, |(_, problem)| problem);
                self.note_problem(problem);
                self.skip_action();
                None
            }
        }
    }

    /// Parses a pipeline up to the end of the action. On a syntax error, records it and returns
    /// `None`.
    fn parse_whole_pipeline(
        &mut self,
        open: usize,
        context: &str,
    ) -> Result<Option<Pipe<'s>>, TooDeep> {
        match self.parse_pipeline(context, TokenKind::Close) {
            Ok(pipe) => Ok(Some(pipe)),
            Err(pipeline::PipelineError::TooDeep(at)) => Err(TooDeep(at)),
            Err(pipeline::PipelineError::Problem(problem)) => {
                let problem = self
                    .find_missing_spaces(open)
                    .map_or(problem, |(_, problem)| problem);
                self.note_problem(problem);
                self.next -= 1;
                self.skip_action();
                Ok(None)
            }
        }
    }

    /// The problem and its suggested fix for an action whose spaces are missing.
    fn find_missing_spaces(&self, open: usize) -> Option<(&'static str, Problem)> {
        let body = self.source[open..].strip_prefix("{{")?;
        let inside = &body[..lex::end_of_action(body)?];
        let inside = inside.strip_prefix("- ").unwrap_or(inside);
        let inside = inside.strip_suffix(" -").unwrap_or(inside).trim();
        let (keyword, meant) = missing_spaces::suggest_spaced(inside)?;
        let problem = Problem::new(open, format!("`{inside}` has lost its spaces"));
        Some((
            keyword,
            problem.with_help(format!("did you mean `{meant}`?")),
        ))
    }
}

fn explain_bad_token(at: usize, why: &str) -> Problem {
    match why {
        "" => Problem::new(at, "this `{{` is never closed").with_help("add `}}`"),
        why => Problem::new(at, format!("this is no Go template: {why}")),
    }
}

/// Whether Go regards a template as empty.
fn is_empty(list: &List<'_>) -> bool {
    list.iter()
        .all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
}

fn find_undefined(list: &List<'_>, known: &BTreeSet<Rc<str>>, problems: &mut Vec<Problem>) {
    for node in list {
        match node {
            Node::Template { at, name, .. } if !known.contains(name) => {
                let near = functions::find_nearest(name, known.iter().map(|k| &**k));
                let problem = Problem::new(*at, format!("no template {:?} is defined", &**name));
                problems.push(match near {
                    Some(near) => problem.with_help(format!("did you mean {near:?}?")),
                    None => problem.with_help("add it: `{{ define \"…\" }} … {{ end }}`"),
                });
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                find_undefined(&branch.body, known, problems);
                find_undefined(&branch.otherwise, known, problems);
            }
            _ => {}
        }
    }
}
