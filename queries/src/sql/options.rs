//! `WITH (…)` lists, values and names.

use datafusion_sql::sqlparser::ast::Ident;
use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::{Name, OptionStatement, OptionValue};
use super::parser::{Read, Reader};
use super::tokens::shown;
use crate::diagnostic::{Code, Diagnostic, Span};

impl Reader<'_> {
    /// `WITH (name = value, …)`
    pub(super) fn options(&mut self, required: bool) -> Read<Vec<OptionStatement>> {
        let mut options: Vec<OptionStatement> = Vec::new();
        if required {
            self.expect_word("with")?;
        } else if !self.word("with") {
            return Ok(options);
        }
        self.expect_token(&Token::LParen)?;
        while !self.parser.consume_token(&Token::RParen) {
            if !options.is_empty() {
                self.expect_token(&Token::Comma)?;
                if self.parser.consume_token(&Token::RParen) {
                    break;
                }
            }
            let name = self.dotted_name()?;
            self.expect_token(&Token::Eq)?;
            let (value, value_span) = self.value()?;
            if options.iter().any(|option| option.name.text == name.text) {
                let message = format!("option \"{}\" is given twice", name.text);
                return Err(Diagnostic::new(Code::BadOption, message, name.span).with_hint("remove one of them"));
            }
            options.push(OptionStatement { name, value, value_span });
        }
        Ok(options)
    }

    /// The value of an option or a setting.
    pub(super) fn value(&mut self) -> Read<(OptionValue, Span)> {
        let token = self.parser.next_token();
        let span = self.token_span(&token);
        let text = match &token.token {
            Token::SingleQuotedString(text) => text.clone(),
            Token::Number(text, _) => text.clone(),
            Token::Minus => match self.parser.next_token().token {
                Token::Number(text, _) => format!("-{text}"),
                _ => return Err(self.mistake("expected a number after -", &token)),
            },
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_lowercase().as_str() {
                "secret" => {
                    let name = self.name()?;
                    let span = span.to(name.span);
                    return Ok((OptionValue::Secret(name), span));
                }
                "interval" => {
                    let next = self.parser.next_token();
                    let Token::SingleQuotedString(text) = &next.token else {
                        return Err(self.mistake("expected a duration such as '5 minutes'", &next));
                    };
                    let span = span.to(self.token_span(&next));
                    return Ok((OptionValue::Text(text.clone()), span));
                }
                text @ ("true" | "false") => text.to_owned(),
                _ => {
                    return Err(self
                        .mistake(format!("the value {} has no quotes", word.value), &token)
                        .with_hint(format!("write '{}'", word.value)));
                }
            },
            other => {
                return Err(self
                    .mistake(format!("expected a value, found {}", shown(other)), &token)
                    .with_hint("a value is text in single quotes, a number, true or false"));
            }
        };
        let end = self.token_span(&self.parser.get_current_token().clone());
        Ok((OptionValue::Text(text), span.to(end)))
    }

    pub(super) fn names(&mut self) -> Read<Vec<Name>> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    pub(super) fn name(&mut self) -> Read<Name> {
        let token = self.peek();
        let ident = self
            .parser
            .parse_identifier()
            .map_err(|_| self.mistake(format!("expected a name, found {}", shown(&token.token)), &token))?;
        Ok(self.named(&ident))
    }

    pub(super) fn dotted_name(&mut self) -> Read<Name> {
        let mut name = self.name()?;
        while self.parser.consume_token(&Token::Period) {
            let next = self.name()?;
            name.text = format!("{}.{}", name.text, next.text);
            name.span = name.span.to(next.span);
        }
        Ok(name)
    }

    fn named(&self, ident: &Ident) -> Name {
        let text = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        Name { text, span: self.lines.span(ident.span).unwrap_or(self.span) }
    }
}
