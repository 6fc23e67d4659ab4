//! A text of several statements, cut without reading them: for shells.

use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::LineIndex;
use crate::diagnostic::Span;

/// The places of the statements of a text, each without its semicolon. A text that has no tokens (a quote is
/// open) is one statement: reading it tells what is wrong.
pub fn statement_spans(text: &str) -> Vec<Span> {
    let whole = Span { start: 0, end: text.len() };
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location() else { return vec![whole] };
    let lines = LineIndex::new(text);
    let pieces = tokens.split(|token| token.token == Token::SemiColon);
    let places = pieces.filter_map(|piece| {
        let mut solid = piece.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let first = solid.next()?;
        let last = solid.next_back().unwrap_or(first);
        Some(Span { start: lines.offset(first.span.start)?, end: lines.offset(last.span.end)? })
    });
    places.collect()
}

/// Whether a text ends with a whole statement: its last token is a semicolon, or there is none.
pub fn is_complete(text: &str) -> bool {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else { return false };
    let last = tokens.iter().rev().find(|token| !matches!(token, Token::Whitespace(_) | Token::EOF));
    last.is_none_or(|token| *token == Token::SemiColon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_text_and_comments_do_not_count() {
        let text = "SELECT ';' -- a; b\n, 1;\n;; SELECT 2";
        let found: Vec<&str> = statement_spans(text).iter().map(|span| &text[span.start..span.end]).collect();
        assert_eq!(found, ["SELECT ';' -- a; b\n, 1", "SELECT 2"]);
        assert_eq!(statement_spans("SELECT 'open").len(), 1);
        assert!(statement_spans(" -- nothing").is_empty());
    }

    #[test]
    fn a_statement_is_whole_with_its_semicolon() {
        for (text, whole) in [
            ("", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1; -- said", true),
            ("SELECT ';", false),
            ("SELECT 1; SELECT", false),
            ("/* open", false),
        ] {
            assert_eq!(is_complete(text), whole, "{text:?}");
        }
    }
}
