//! Parses pipelines, commands and operands.

use super::super::lex::{Kind as Lexed, Token};
use super::super::literal;
use super::super::tree::{Command, Kind, Operand, Pipe};
use super::super::{Problem, functions};
use super::{MAX_DEPTH, Parser, bad};

pub(super) enum Stop {
    Problem(Problem),
    TooDeep(usize),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Stop::Problem(problem)
    }
}

impl<'s> Parser<'s> {
    /// Parses up to and including `end`. After an error, the last token taken is the unexpected
    /// one.
    pub(super) fn pipeline(&mut self, context: &str, end: Lexed) -> Result<Pipe<'s>, Stop> {
        let mut pipe = Pipe {
            at: self.peek_word().at,
            ..Pipe::default()
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_word();
            match token.kind {
                kind if kind == end => {
                    self.next += 1;
                    return self.checked(pipe, token, context);
                }
                Lexed::Bool
                | Lexed::Character
                | Lexed::Dot
                | Lexed::Field
                | Lexed::Identifier
                | Lexed::Number
                | Lexed::Raw
                | Lexed::Text2
                | Lexed::Variable
                | Lexed::LeftParen => pipe.commands.push(self.command()?),
                Lexed::Keyword if token.text == "nil" => pipe.commands.push(self.command()?),
                _ => {
                    self.next += 1;
                    return Err(unexpected(token, context).into());
                }
            }
        }
    }

    fn declarations(&mut self, pipe: &mut Pipe<'s>, context: &str) -> Result<(), Stop> {
        loop {
            let start = self.next;
            let variable = self.peek_word();
            if variable.kind != Lexed::Variable {
                return Ok(());
            }
            self.next += 1;
            let token = self.peek_word();
            match token.kind {
                Lexed::Assign | Lexed::Declare => {
                    self.next += 1;
                    pipe.assigns = token.kind == Lexed::Assign;
                    pipe.vars.push(variable.text);
                    self.assigned(pipe, variable.at);
                    return Ok(());
                }
                Lexed::Comma => {
                    self.next += 1;
                    pipe.vars.push(variable.text);
                    if context != "range" || pipe.vars.len() > 1 {
                        return Err(Problem::new(
                            token.at,
                            format!("too many variables for {context}"),
                        )
                        .into());
                    }
                    // The second variable follows.
                    if self.peek_word().kind != Lexed::Variable {
                        let token = self.take_word();
                        return Err(Problem::new(
                            token.at,
                            "a variable is expected behind the comma",
                        )
                        .into());
                    }
                }
                _ if pipe.vars.is_empty() => {
                    self.next = start;
                    return Ok(());
                }
                _ => {
                    self.next += 1;
                    return Err(Problem::new(
                        token.at,
                        "`:=` or `=` is expected behind the variables",
                    )
                    .into());
                }
            }
        }
    }

    /// Declares the variables of a declaration; those of an assignment must already be declared.
    fn assigned(&mut self, pipe: &Pipe<'s>, at: usize) {
        for name in &pipe.vars {
            if pipe.assigns && !self.vars.contains(name) {
                self.unknown_variable(at, name, "write `:=` to declare it");
            }
            self.vars.push(name);
        }
    }

    fn unknown_variable(&mut self, at: usize, name: &str, otherwise: &str) {
        let problem = Problem::new(at, format!("the variable `{name}` is not declared"));
        let near = functions::nearest(name, self.vars.iter().copied().filter(|v| *v != "$"));
        let help = near.map_or(otherwise.to_owned(), |near| {
            format!("did you mean `{near}`?")
        });
        self.unknown.push(problem.help(help));
    }

    fn checked(&mut self, pipe: Pipe<'s>, end: Token<'s>, context: &str) -> Result<Pipe<'s>, Stop> {
        if pipe.commands.is_empty() {
            return Err(Problem::new(end.at, format!("a value is missing for {context}")).into());
        }
        for command in &pipe.commands[1..] {
            if matches!(
                command.head.kind,
                Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Number(_) | Kind::Text(_)
            ) {
                return Err(Problem::new(command.head.at, "behind a `|` stands a function").into());
            }
        }
        Ok(pipe)
    }

    fn command(&mut self) -> Result<Command<'s>, Stop> {
        let mut operands = Vec::new();
        let start = self.peek_word();
        loop {
            self.skip_space();
            operands.extend(self.operand()?);
            let token = self.take();
            match token.kind {
                Lexed::Space => {}
                Lexed::Close | Lexed::RightParen => {
                    self.next -= 1;
                    break;
                }
                Lexed::Pipe => break,
                _ => return Err(unexpected(token, "an operand").into()),
            }
        }
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(head) => Ok(Command {
                head,
                args: operands.collect(),
            }),
            None => Err(Problem::new(start.at, "a command is missing here").into()),
        }
    }

    /// Parses a term and the fields after it; `None` when no operand follows.
    fn operand(&mut self) -> Result<Option<Operand<'s>>, Stop> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while self.peek().kind == Lexed::Field {
            fields.push(&self.take().text[1..]);
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        let at = term.at;
        let kind = match term.kind {
            Kind::Field(mut all) => {
                all.append(&mut fields);
                Kind::Field(all)
            }
            Kind::Variable(name, _) => Kind::Variable(name, fields),
            Kind::Bool(_) | Kind::Text(_) | Kind::Number(_) | Kind::Nil | Kind::Dot => {
                return Err(Problem::new(at, "no `.` can follow this").into());
            }
            _ => Kind::Chain(Box::new(term), fields),
        };
        Ok(Some(Operand { at, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand<'s>>, Stop> {
        let token = self.take_word();
        let at = token.at;
        let wrong =
            |why: &str| Stop::Problem(Problem::new(at, format!("this is no Go template: {why}")));
        let kind = match token.kind {
            Lexed::Identifier => match functions::find(token.text) {
                Some(function) => Kind::Function(function),
                None => {
                    let problem =
                        Problem::new(at, format!("there is no function `{}`", token.text));
                    self.unknown
                        .push(problem.help(functions::instead(token.text)));
                    Kind::Unknown
                }
            },
            Lexed::Dot => Kind::Dot,
            Lexed::Keyword if token.text == "nil" => Kind::Nil,
            Lexed::Variable => {
                if !self.vars.contains(&token.text) {
                    self.unknown_variable(
                        at,
                        token.text,
                        "declare it with `:=` where it is to be known",
                    );
                }
                Kind::Variable(token.text, Vec::new())
            }
            Lexed::Field => Kind::Field(vec![&token.text[1..]]),
            Lexed::Bool => Kind::Bool(token.text == "true"),
            Lexed::Number => Kind::Number(literal::number(token.text).map_err(wrong)?),
            Lexed::Character => Kind::Number(literal::character(token.text).map_err(wrong)?),
            Lexed::Text2 | Lexed::Raw => {
                Kind::Text(literal::unquote(token.text).map_err(wrong)?.into())
            }
            Lexed::LeftParen => {
                self.depth_of_parens += 1;
                if self.depth_of_parens > MAX_DEPTH {
                    return Err(Stop::TooDeep(at));
                }
                let pipe = self.pipeline("parentheses", Lexed::RightParen);
                self.depth_of_parens -= 1;
                Kind::Pipe(pipe?)
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at, kind }))
    }
}

fn unexpected(token: Token<'_>, context: &str) -> Problem {
    match token.kind {
        Lexed::Bad(why) => {
            let problem = bad(token.at, why);
            let dashed = why == "a character that no name holds" && token.text.starts_with('-');
            if dashed {
                problem.help(r#"a key with a dash is read by `index .Values "the-key"`"#)
            } else {
                problem
            }
        }
        Lexed::Close => Problem::new(token.at, format!("the action ends within {context}")),
        _ => Problem::new(
            token.at,
            format!(
                "this is no Go template: `{}` is not expected in {context}",
                token.text
            ),
        ),
    }
}
