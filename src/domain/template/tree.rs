//! The syntax tree of a parsed template.

use super::Problem;
use super::functions::Function;
use super::literal::Number;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) type List<'s> = Vec<Node<'s>>;

/// A template whose blocks are balanced, and its named templates.
#[derive(Debug)]
pub(super) struct Parsed<'s> {
    pub main: List<'s>,
    pub named: BTreeMap<Rc<str>, List<'s>>,
    /// Unknown names. The rest of the template is valid and is executed to find more problems.
    pub problems: Vec<Problem>,
}

/// A node of the tree. `at` is always a byte offset of the source.
#[derive(Debug)]
pub(super) enum Node<'s> {
    Text {
        at: usize,
        text: &'s str,
    },
    Action(Pipe<'s>),
    If(Branch<'s>),
    With(Branch<'s>),
    Range(Branch<'s>),
    Template {
        at: usize,
        name: Rc<str>,
        pipe: Option<Pipe<'s>>,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Branch<'s> {
    pub at: usize,
    pub pipe: Pipe<'s>,
    pub body: List<'s>,
    pub otherwise: List<'s>,
}

/// `$a, $b := COMMAND | COMMAND`
#[derive(Debug, Default)]
pub(super) struct Pipe<'s> {
    pub at: usize,
    pub vars: Vec<&'s str>,
    /// Assigns with `=` instead of declaring with `:=`.
    pub assigns: bool,
    pub commands: Vec<Command<'s>>,
}

#[derive(Debug)]
pub(super) struct Command<'s> {
    /// The function that is called, or the value that is read.
    pub head: Operand<'s>,
    pub args: Vec<Operand<'s>>,
}

#[derive(Debug)]
pub(super) struct Operand<'s> {
    pub at: usize,
    pub kind: OperandKind<'s>,
}

#[derive(Debug)]
pub(super) enum OperandKind<'s> {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    /// `.a.b`
    Field(Vec<&'s str>),
    /// `$x.a.b`
    Variable(&'s str, Vec<&'s str>),
    Function(&'static Function),
    Pipe(Pipe<'s>),
    /// `(…).a.b`
    Chain(Box<Operand<'s>>, Vec<&'s str>),
    /// An unknown function, already recorded as a problem; its value is unknown.
    Unknown,
}

impl Command<'_> {
    /// The function it calls.
    pub fn function(&self) -> Option<&'static Function> {
        match &self.head.kind {
            OperandKind::Function(function) => Some(function),
            _ => None,
        }
    }
}
