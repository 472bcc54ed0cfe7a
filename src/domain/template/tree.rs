//! A parsed template.

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
    /// Names that nobody knows: all else can be read, and run to find more.
    pub problems: Vec<Problem>,
}

/// `at` is always a byte of the source.
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
    /// `=` where the other is `:=`.
    pub assigns: bool,
    pub commands: Vec<Command<'s>>,
}

#[derive(Debug)]
pub(super) struct Command<'s> {
    /// What is called or read, and its arguments.
    pub head: Operand<'s>,
    pub args: Vec<Operand<'s>>,
}

#[derive(Debug)]
pub(super) struct Operand<'s> {
    pub at: usize,
    pub kind: Kind<'s>,
}

#[derive(Debug)]
pub(super) enum Kind<'s> {
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
    /// A function that nobody knows: noted, and then unknown.
    Unknown,
}

impl<'s> Command<'s> {
    /// The function it calls.
    pub fn function(&self) -> Option<&'static Function> {
        match &self.head.kind {
            Kind::Function(function) => Some(function),
            _ => None,
        }
    }
}
