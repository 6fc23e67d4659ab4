//! `CREATE FUNCTION`.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::{FunctionStatement, Parameter, Statement};
use super::parser::{Read, Reader};
use super::tokens::shown;

impl Reader<'_> {
    /// After `CREATE [OR REPLACE] FUNCTION`.
    pub(super) fn function(&mut self, replace: bool) -> Read<Statement> {
        let name = self.name()?;
        let parameters = self.parameters()?;
        let returns = match self.word("returns") {
            true => Some(self.parser.parse_data_type().map_err(|error| self.syntax(&error))?),
            false => None,
        };
        let token = self.peek();
        if returns.is_none() && !self.word("as") {
            return Err(self.unknown_word("RETURNS or AS", &token, &["returns", "as"]));
        }
        if returns.is_some() {
            self.expect_word("as")?;
        }
        let first = self.peek();
        let start = self.token_span(&first);
        if matches!(first.token, Token::SingleQuotedString(_) | Token::DollarQuotedString(_)) && self.is_last() {
            return Err(self
                .mistake("the body of a function is an expression, not text", &first)
                .with_hint("write AS amount * 2 without quotes"));
        }
        let body = self.parser.parse_expr().map_err(|error| self.syntax(&error))?;
        let end = self.token_span(&self.parser.get_current_token().clone());
        self.end()?;
        let (body, body_span) = (Box::new(body), start.to(end));
        Ok(Statement::Function(FunctionStatement {
            name,
            replace,
            parameters,
            returns,
            body,
            body_span,
            span: self.span,
        }))
    }

    fn is_last(&self) -> bool {
        self.parser.peek_nth_token(1).token == Token::EOF
    }

    /// `(name [type], …)`
    fn parameters(&mut self) -> Read<Vec<Parameter>> {
        self.expect_token(&Token::LParen)?;
        let mut parameters: Vec<Parameter> = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            if !parameters.is_empty() {
                self.expect_token(&Token::Comma)?;
            }
            let token = self.peek();
            let name = self.name()?;
            if parameters.iter().any(|known| known.name.text == name.text) {
                let message = format!("two parameters are named {}", shown(&token.token));
                return Err(self.mistake(message, &token).with_hint("rename one of them"));
            }
            let untyped = matches!(self.peek().token, Token::Comma | Token::RParen);
            let data_type = match untyped {
                true => None,
                false => Some(self.parser.parse_data_type().map_err(|error| self.syntax(&error))?),
            };
            parameters.push(Parameter { name, data_type });
        }
        Ok(parameters)
    }
}
