//! Parses pipelines, commands and operands.

use super::super::lex::{Token, TokenKind as Lexed};
use super::super::literal;
use super::super::tree::{Command, Operand, OperandKind, Pipe};
use super::super::{Problem, functions};
use super::{MAX_DEPTH, Parser, explain_bad_token};

pub(super) enum PipelineError {
    Problem(Problem),
    TooDeep(usize),
}

impl From<Problem> for PipelineError {
    fn from(problem: Problem) -> Self {
        PipelineError::Problem(problem)
    }
}

impl<'s> Parser<'s> {
    /// Parses up to and including `end`. After an error, the last token taken is the unexpected
    /// one.
    pub(super) fn parse_pipeline(
        &mut self,
        context: &str,
        end: Lexed,
    ) -> Result<Pipe<'s>, PipelineError> {
        let mut pipe = Pipe {
            at: self.peek_word().at,
            ..Pipe::default()
        };
        self.parse_declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_word();
            match token.kind {
                kind if kind == end => {
                    self.next += 1;
                    return self.check_pipeline(pipe, token, context);
                }
                Lexed::Bool
                | Lexed::Character
                | Lexed::Dot
                | Lexed::Field
                | Lexed::Identifier
                | Lexed::Number
                | Lexed::Raw
                | Lexed::Quoted
                | Lexed::Variable
                | Lexed::LeftParen => pipe.commands.push(self.parse_command()?),
                Lexed::Keyword if token.text == "nil" => pipe.commands.push(self.parse_command()?),
                _ => {
                    self.next += 1;
                    return Err(explain_unexpected(token, context).into());
                }
            }
        }
    }

    fn parse_declarations(
        &mut self,
        pipe: &mut Pipe<'s>,
        context: &str,
    ) -> Result<(), PipelineError> {
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
                    self.declare_variables(pipe, variable.at);
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
    fn declare_variables(&mut self, pipe: &Pipe<'s>, at: usize) {
        for name in &pipe.vars {
            if pipe.assigns && !self.vars.contains(name) {
                self.note_unknown_variable(at, name, "write `:=` to declare it");
            }
            self.vars.push(name);
        }
    }

    fn note_unknown_variable(&mut self, at: usize, name: &str, otherwise: &str) {
        let problem = Problem::new(at, format!("the variable `{name}` is not declared"));
        let near = functions::find_nearest(name, self.vars.iter().copied().filter(|v| *v != "$"));
        let help = near.map_or(otherwise.to_owned(), |near| {
            format!("did you mean `{near}`?")
        });
        self.unknown.push(problem.with_help(help));
    }

    fn check_pipeline(
        &mut self,
        pipe: Pipe<'s>,
        end: Token<'s>,
        context: &str,
    ) -> Result<Pipe<'s>, PipelineError> {
        if pipe.commands.is_empty() {
            return Err(Problem::new(end.at, format!("a value is missing for {context}")).into());
        }
        for command in &pipe.commands[1..] {
            if matches!(
                command.head.kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::Text(_)
            ) {
                return Err(Problem::new(command.head.at, "behind a `|` stands a function").into());
            }
        }
        Ok(pipe)
    }

    fn parse_command(&mut self) -> Result<Command<'s>, PipelineError> {
        let mut operands = Vec::new();
        let start = self.peek_word();
        loop {
            self.skip_space();
            operands.extend(self.parse_operand()?);
            let token = self.take_token();
            match token.kind {
                Lexed::Space => {}
                Lexed::Close | Lexed::RightParen => {
                    self.next -= 1;
                    break;
                }
                Lexed::Pipe => break,
                _ => return Err(explain_unexpected(token, "an operand").into()),
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
    fn parse_operand(&mut self) -> Result<Option<Operand<'s>>, PipelineError> {
        let Some(term) = self.parse_term()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while self.peek().kind == Lexed::Field {
            fields.push(&self.take_token().text[1..]);
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        let at = term.at;
        let kind = match term.kind {
            OperandKind::Field(mut all) => {
                all.append(&mut fields);
                OperandKind::Field(all)
            }
            OperandKind::Variable(name, _) => OperandKind::Variable(name, fields),
            OperandKind::Bool(_)
            | OperandKind::Text(_)
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                return Err(Problem::new(at, "no `.` can follow this").into());
            }
            _ => OperandKind::Chain(Box::new(term), fields),
        };
        Ok(Some(Operand { at, kind }))
    }

    fn parse_term(&mut self) -> Result<Option<Operand<'s>>, PipelineError> {
        let token = self.take_word();
        let at = token.at;
        let wrong = |why: &str| {
            PipelineError::Problem(Problem::new(at, format!("this is no Go template: {why}")))
        };
        let kind = match token.kind {
            Lexed::Identifier => {
                if let Some(function) = functions::find_function(token.text) {
                    OperandKind::Function(function)
                } else {
                    let problem =
                        Problem::new(at, format!("there is no function `{}`", token.text));
                    self.unknown
                        .push(problem.with_help(functions::suggest_instead(token.text)));
                    OperandKind::Unknown
                }
            }
            Lexed::Dot => OperandKind::Dot,
            Lexed::Keyword if token.text == "nil" => OperandKind::Nil,
            Lexed::Variable => {
                if !self.vars.contains(&token.text) {
                    self.note_unknown_variable(
                        at,
                        token.text,
                        "declare it with `:=` where it is to be known",
                    );
                }
                OperandKind::Variable(token.text, Vec::new())
            }
            Lexed::Field => OperandKind::Field(vec![&token.text[1..]]),
            Lexed::Bool => OperandKind::Bool(token.text == "true"),
            Lexed::Number => OperandKind::Number(literal::parse_number(token.text).map_err(wrong)?),
            Lexed::Character => {
                OperandKind::Number(literal::parse_character(token.text).map_err(wrong)?)
            }
            Lexed::Quoted | Lexed::Raw => {
                OperandKind::Text(literal::unquote(token.text).map_err(wrong)?.into())
            }
            Lexed::LeftParen => {
                self.depth_of_parens += 1;
                if self.depth_of_parens > MAX_DEPTH {
                    return Err(PipelineError::TooDeep(at));
                }
                let pipe = self.parse_pipeline("parentheses", Lexed::RightParen);
                self.depth_of_parens -= 1;
                OperandKind::Pipe(pipe?)
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at, kind }))
    }
}

fn explain_unexpected(token: Token<'_>, context: &str) -> Problem {
    match token.kind {
        Lexed::Bad(why) => {
            let problem = explain_bad_token(token.at, why);
            let dashed = why == "a character that no name holds" && token.text.starts_with('-');
            if dashed {
                problem.with_help(r#"a key with a dash is read by `index .Values "the-key"`"#)
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
