//! What is refused before a template is even compiled.
//!
//! The engine parses, compiles and drops expressions recursively, and builds lists, captures and strings as large as it
//! is told to: neither has a limit of its own. So an expression is short, and nothing in it makes a value larger.

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use super::describe;

/// The most tokens between two delimiters: the engine's stack grows with them.
const MAX_TOKENS: usize = 128;
/// Branches of all `if` blocks that are open at one point: the engine's stack grows with them.
const MAX_DEPTH: usize = 64;
/// The longest text inside an expression: each step may walk it.
const MAX_LITERAL: usize = 1024;

/// A configuration file ends as it is written.
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// Refuses what could grow without bound or hide a value's way.
///
/// # Errors
/// The line, and what is refused there.
pub(super) fn guard(template: &str) -> Result<(), String> {
    let mut expression = Expression::default();
    // Branches of each block that is open.
    let mut open: Vec<usize> = Vec::new();
    for token in tokenize(template, false, syntax()) {
        let (token, span) = token.map_err(|e| describe(&e))?;
        match &token {
            Token::Ident("if" | "for") if expression.is_block_start() => open.push(1),
            Token::Ident("elif" | "else") if expression.is_block_start() => {
                if let Some(branches) = open.last_mut() {
                    *branches += 1;
                }
            }
            Token::Ident("endif" | "endfor") if expression.is_block_start() => drop(open.pop()),
            _ => {}
        }
        let deep = open.iter().sum::<usize>() > MAX_DEPTH;
        let refused = expression.refuses(&token).or(deep.then_some("too many blocks or branches in each other"));
        if let Some(what) = refused {
            return Err(format!("line {}: {what}", span.start_line));
        }
    }
    Ok(())
}

/// What was seen since the last delimiter.
#[derive(Default)]
struct Expression {
    tokens: usize,
    in_block: bool,
    /// `in` belongs to a `for`, once.
    may_say_in: bool,
    /// The last token ends an operand: a bracket after it is an index, else a list.
    after_operand: bool,
    in_list: bool,
}

impl Expression {
    fn is_block_start(&self) -> bool {
        self.in_block && self.tokens == 0
    }

    fn refuses(&mut self, token: &Token<'_>) -> Option<&'static str> {
        if matches!(token, Token::VariableStart | Token::BlockStart | Token::TemplateData(_)) {
            *self = Self { in_block: matches!(token, Token::BlockStart), ..Self::default() };
            return None;
        }
        let refused = match token {
            _ if self.in_list => {
                let constant = matches!(
                    token,
                    Token::Comma
                        | Token::BracketClose
                        | Token::Str(_)
                        | Token::String(_)
                        | Token::Int(_)
                        | Token::Float(_)
                );
                (!constant).then_some("a list holds texts and numbers only")
            }
            Token::Tilde | Token::Plus | Token::Mul | Token::Div | Token::FloorDiv | Token::Pow | Token::Mod => {
                Some("operators are not available: write values side by side")
            }
            Token::Ident(word) if self.is_block_start() => {
                self.may_say_in = *word == "for";
                let known = matches!(*word, "if" | "elif" | "else" | "endif" | "for" | "endfor");
                (!known).then_some("only if and for blocks are available")
            }
            Token::Ident("in") => (!std::mem::take(&mut self.may_say_in)).then_some("in is only available in for"),
            Token::Ident("recursive") if self.in_block => Some("recursive loops are not available"),
            Token::Colon | Token::BraceOpen => Some("slices and maps are not available"),
            Token::Comma => Some("a list is written in brackets"),
            _ => None,
        };
        self.in_list = match token {
            Token::BracketOpen => !self.after_operand,
            Token::BracketClose => false,
            _ => self.in_list,
        };
        self.after_operand = match token {
            Token::Ident(word) => {
                !self.is_block_start() && !matches!(*word, "in" | "if" | "else" | "not" | "and" | "or" | "is")
            }
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::BracketClose | Token::ParenClose => true,
            _ => false,
        };
        let long = match token {
            Token::Str(text) => text.len() > MAX_LITERAL,
            Token::String(text) => text.len() > MAX_LITERAL,
            _ => false,
        };
        self.tokens += 1;
        refused
            .or(long.then_some("a text inside an expression is short: write it outside of it"))
            .or((self.tokens > MAX_TOKENS).then_some("the expression is too long"))
    }
}
