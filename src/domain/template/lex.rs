//! Splits a template into tokens by Go's rules: only space, tab, carriage return and line feed are
//! white space, words end only where Go ends them, and a comment is alone in its action.
//!
//! A lexical error ends its action: the token [`TokenKind::Bad`] holds the reason, and text continues
//! after the next `}}`.

use super::characters::is_word;

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Text,
    /// `{{`, also with its trim marker.
    Open,
    Close,
    Space,
    Identifier,
    Keyword,
    /// `.`
    Dot,
    /// `.name`
    Field,
    /// `$` or `$name`
    Variable,
    Bool,
    Number,
    Character,
    /// A text in double quotes.
    Quoted,
    /// A text in back quotes.
    Raw,
    Declare,
    Assign,
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    /// Any other character.
    Other,
    Bad(&'static str),
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'s> {
    pub kind: TokenKind,
    pub at: usize,
    pub text: &'s str,
}

pub(super) const KEYWORDS: [&str; 11] = [
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

/// Every token up to the end of the source.
pub(super) fn tokenize(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        parens: 0,
        out: Vec::with_capacity(source.len() / 8),
    };
    while lexer.lex_text() {}
    lexer.push(TokenKind::End, source.len());
    lexer.out
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    parens: usize,
    out: Vec<Token<'s>>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Adds a token from `start` to the current position.
    fn push(&mut self, kind: TokenKind, start: usize) {
        self.out.push(Token {
            kind,
            at: start,
            text: &self.source[start..self.at],
        });
    }

    /// Reads text up to the next action, and that action; false at the end of the source.
    fn lex_text(&mut self) -> bool {
        let rest = self.rest();
        let Some(length) = rest.find("{{") else {
            let start = self.at;
            self.at = self.source.len();
            if start < self.at {
                self.push(TokenKind::Text, start);
            }
            return false;
        };
        let open = self.at + length;
        let marker = has_left_marker(&self.source[open + 2..]);
        let text = if marker {
            rest[..length].trim_end_matches(SPACE)
        } else {
            &rest[..length]
        };
        if !text.is_empty() {
            self.out.push(Token {
                kind: TokenKind::Text,
                at: self.at,
                text,
            });
        }
        self.at = open + 2 + if marker { 2 } else { 0 };
        if self.rest().starts_with("/*") {
            return self.lex_comment(open);
        }
        self.out.push(Token {
            kind: TokenKind::Open,
            at: open,
            text: "{{",
        });
        self.parens = 0;
        self.lex_action(open)
    }

    fn lex_comment(&mut self, open: usize) -> bool {
        self.at += 2;
        let Some(length) = self.rest().find("*/") else {
            return self.push_bad(open, open, "");
        };
        self.at += length + 2;
        if !self.skip_close() {
            let from = self.at;
            return self.push_bad(
                open,
                from,
                "a comment stands alone between `{{/*` and `*/}}`",
            );
        }
        true
    }

    /// Skips `}}`, or ` -}}` and the white space after it; whether either was there.
    fn skip_close(&mut self) -> bool {
        let rest = self.rest();
        if let Some(behind) = trimmed_close(rest) {
            self.at = self.source.len() - behind.trim_start_matches(SPACE).len();
            true
        } else if rest.starts_with("}}") {
            self.at += 2;
            true
        } else {
            false
        }
    }

    /// Adds an error token at `from` and skips the rest of the action that began at `open`. If the
    /// action never ends, or `why` is empty, reports it as not closed and returns false.
    fn push_bad(&mut self, open: usize, from: usize, why: &'static str) -> bool {
        if let Some(length) = end_of_action(&self.source[from..]).filter(|_| !why.is_empty()) {
            self.out.push(Token {
                kind: TokenKind::Bad(why),
                at: from,
                text: &self.source[from..from + length],
            });
            self.at = from + length + 2;
            true
        } else {
            self.at = self.source.len();
            self.push(TokenKind::Bad(""), open);
            false
        }
    }

    /// Reads the tokens of one action; false when it is never closed.
    fn lex_action(&mut self, open: usize) -> bool {
        loop {
            let start = self.at;
            if self.rest().starts_with("}}") || trimmed_close(self.rest()).is_some() {
                if self.parens > 0 {
                    return self.push_bad(open, start, "a `(` is not closed");
                }
                self.skip_close();
                self.out.push(Token {
                    kind: TokenKind::Close,
                    at: start,
                    text: "}}",
                });
                return true;
            }
            let Some(c) = self.peek() else {
                return self.push_bad(open, start, "");
            };
            self.at += c.len_utf8();
            let kind = match c {
                c if SPACE.contains(&c) => self.lex_space(),
                '=' => Ok(TokenKind::Assign),
                ':' if self.peek() == Some('=') => {
                    self.at += 1;
                    Ok(TokenKind::Declare)
                }
                ':' => Err("`:=` is expected"),
                '|' => Ok(TokenKind::Pipe),
                ',' => Ok(TokenKind::Comma),
                '"' => self.lex_quoted(
                    '"',
                    TokenKind::Quoted,
                    "a text in quotes is not closed on its line",
                ),
                '\'' => self.lex_quoted(
                    '\'',
                    TokenKind::Character,
                    "a character in quotes is not closed",
                ),
                '`' => match self.rest().find('`') {
                    Some(length) => {
                        self.at += length + 1;
                        Ok(TokenKind::Raw)
                    }
                    None => Err("a text in back quotes is not closed"),
                },
                '$' => self.lex_name(TokenKind::Variable, TokenKind::Variable),
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                    self.lex_name(TokenKind::Dot, TokenKind::Field)
                }
                '.' | '+' | '-' | '0'..='9' => {
                    self.at = start;
                    self.lex_number()
                }
                c if is_word(c) => self.lex_word(start),
                '(' => {
                    self.parens += 1;
                    Ok(TokenKind::LeftParen)
                }
                ')' if self.parens == 0 => Err("this `)` closes nothing"),
                ')' => {
                    self.parens -= 1;
                    Ok(TokenKind::RightParen)
                }
                c if c.is_ascii_graphic() => Ok(TokenKind::Other),
                _ => Err("no character for an action"),
            };
            match kind {
                Ok(kind) => self.push(kind, start),
                Err(why) => return self.push_bad(open, start, why),
            }
        }
    }

    /// Reads white space, except a space that belongs to ` -}}`.
    fn lex_space(&mut self) -> Result<TokenKind, &'static str> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(SPACE).len();
        // The white space before the marker is one byte.
        if trimmed_close(&self.source[self.at - 1..]).is_some() {
            self.at -= 1;
        }
        Ok(TokenKind::Space)
    }

    fn lex_quoted(
        &mut self,
        quote: char,
        kind: TokenKind,
        why: &'static str,
    ) -> Result<TokenKind, &'static str> {
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' if chars.next().is_none_or(|(_, c)| c == '\n') => return Err(why),
                '\n' => return Err(why),
                c if c == quote => {
                    self.at += i + 1;
                    return Ok(kind);
                }
                _ => {}
            }
        }
        Err(why)
    }

    /// Reads what follows `.` or `$`: nothing, or a name.
    fn lex_name(&mut self, alone: TokenKind, named: TokenKind) -> Result<TokenKind, &'static str> {
        if self.at_terminator() {
            return Ok(alone);
        }
        self.skip_word();
        if self.at_terminator() {
            Ok(named)
        } else {
            Err("a character that no name holds")
        }
    }

    fn skip_word(&mut self) {
        let rest = self.rest();
        self.at += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    }

    fn lex_word(&mut self, start: usize) -> Result<TokenKind, &'static str> {
        self.skip_word();
        if !self.at_terminator() {
            return Err("a space is missing here, or this is no name");
        }
        Ok(match &self.source[start..self.at] {
            word if KEYWORDS.contains(&word) => TokenKind::Keyword,
            "true" | "false" => TokenKind::Bool,
            _ => TokenKind::Identifier,
        })
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) => SPACE.contains(&c) || ".,|:)(".contains(c) || self.rest().starts_with("}}"),
        }
    }

    fn lex_number(&mut self) -> Result<TokenKind, &'static str> {
        self.accept_one("+-");
        let digits = if self.accept_one("0") {
            match self.peek() {
                Some('x' | 'X') => "0123456789abcdefABCDEF_",
                Some('o' | 'O') => "01234567_",
                Some('b' | 'B') => "01_",
                _ => "0123456789_",
            }
        } else {
            "0123456789_"
        };
        if digits.len() != 11 {
            self.at += 1;
        }
        self.accept_all(digits);
        if self.accept_one(".") {
            self.accept_all(digits);
        }
        let exponent = match digits.len() {
            11 => self.accept_one("eE"),
            23 => self.accept_one("pP"),
            _ => false,
        };
        if exponent {
            self.accept_one("+-");
            self.accept_all("0123456789_");
        }
        if self.accept_one("i") || matches!(self.peek(), Some('+' | '-')) {
            return Err("no number; complex ones are of no use in a manifest");
        }
        if self.peek().is_some_and(is_word) {
            Err("no number")
        } else {
            Ok(TokenKind::Number)
        }
    }

    fn accept_one(&mut self, any: &str) -> bool {
        let yes = self.peek().is_some_and(|c| any.contains(c));
        self.at += usize::from(yes);
        yes
    }

    fn accept_all(&mut self, any: &str) {
        while self.accept_one(any) {}
    }
}

fn has_left_marker(action: &str) -> bool {
    action
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(SPACE))
}

/// What follows ` -}}` when `rest` starts with it.
fn trimmed_close(rest: &str) -> Option<&str> {
    rest.strip_prefix(SPACE)?.strip_prefix("-}}")
}

/// The offset of the first `}}` outside quotes.
pub(super) fn end_of_action(body: &str) -> Option<usize> {
    let mut quote = None;
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '}') if body[at..].starts_with("}}") => return Some(at),
            (None, '"' | '\'' | '`') => quote = Some(c),
            // A quote that is not closed on its line ends with the line.
            (Some('"' | '\''), '\n') => quote = None,
            (Some('"' | '\''), '\\') => {
                chars.next();
            }
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}
