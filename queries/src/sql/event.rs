//! `CREATE EVENT`.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::{EventStatement, Statement};
use super::parser::{Read, Reader};
use super::tokens::shown;

impl Reader<'_> {
    /// After `CREATE EVENT`.
    pub(super) fn event(&mut self) -> Read<Statement> {
        let source = self.name()?;
        let token = self.peek();
        if !self.parser.consume_token(&Token::Period) {
            return Err(self.mistake("an event belongs to a source", &token).with_hint(format!(
                "write CREATE EVENT source.{} AS 'Transfer(address indexed from, …)'",
                source.text
            )));
        }
        let name = self.name()?;
        self.expect_word("as")?;
        let token = self.parser.next_token();
        let Token::SingleQuotedString(signature) = &token.token else {
            let message = format!("expected a signature in quotes, found {}", shown(&token.token));
            return Err(self
                .mistake(message, &token)
                .with_hint("write AS 'Transfer(address indexed from, address indexed to, uint256 value)'"));
        };
        let signature_span = self.token_span(&token);
        let options = self.options(false)?;
        self.end()?;
        let signature = signature.clone();
        Ok(Statement::Event(EventStatement { source, name, signature, signature_span, options, span: self.span }))
    }
}
