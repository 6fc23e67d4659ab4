//! Lines and columns, as sqlparser counts them, to bytes.

use datafusion_sql::sqlparser::tokenizer::{Location, Span as TokenSpan};

use crate::diagnostic::Span;

/// Where the lines of a text start.
#[derive(Debug, Clone)]
pub(crate) struct LineIndex {
    starts: Vec<usize>,
    text: String,
    /// Where the bodies of functions stand: what is wrong with a query may be a word of theirs.
    pub(crate) bodies: Vec<Span>,
}

impl LineIndex {
    /// The lines of a text.
    pub(crate) fn new(text: &str) -> LineIndex {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        LineIndex { starts, text: text.to_owned(), bodies: Vec::new() }
    }

    /// The byte of a line and column (both from 1, columns in characters); none for an unknown place.
    pub(crate) fn offset(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let start = *self.starts.get(line)?;
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let line_text = &self.text[start..end];
        let within = line_text.char_indices().nth(column).map_or(line_text.len(), |(at, _)| at);
        Some(start + within)
    }

    /// A place as bytes; none for an unknown place.
    pub(crate) fn span(&self, span: TokenSpan) -> Option<Span> {
        Some(Span { start: self.offset(span.start)?, end: self.offset(span.end)? })
    }

    /// A place as DataFusion notes it.
    pub(crate) fn planner_span(&self, span: datafusion_common::Span) -> Option<Span> {
        let at = |location: datafusion_common::Location| {
            self.offset(Location { line: location.line, column: location.column })
        };
        Some(Span { start: at(span.start)?, end: at(span.end)? })
    }

    /// The word (or quoted thing) that starts at a byte, for errors that only know a start.
    pub(crate) fn word_at(&self, start: usize) -> Span {
        let rest = &self.text[start..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let len = match rest.chars().next() {
            Some(first) if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            Some(first) => first.len_utf8(),
            None => 0,
        };
        Span { start, end: start + len }
    }

    /// The text of a place.
    pub(crate) fn text_of(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The first place inside `within` where `word` stands as a whole word, in any case.
    pub(crate) fn find_word(&self, within: Span, word: &str) -> Option<Span> {
        if word.is_empty() {
            return None;
        }
        let text = self.text.get(within.start..within.end)?.to_ascii_lowercase();
        let word = word.to_ascii_lowercase();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(&word)
            .find(|(at, _)| {
                !text[..*at].chars().next_back().is_some_and(is_word)
                    && !text[at + word.len()..].chars().next().is_some_and(is_word)
            })
            .map(|(at, _)| Span { start: within.start + at, end: within.start + at + word.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a\n-- é b\nSELECT x";
        let lines = LineIndex::new(text);
        let span = TokenSpan::new(Location::new(2, 6), Location::new(2, 7));
        let span = lines.span(span).expect("the place exists");
        assert_eq!(&text[span.start..span.end], "b");
        assert_eq!(lines.offset(Location::empty()), None);
        assert_eq!(lines.word_at(10), Span { start: 10, end: 16 });
    }

    #[test]
    fn words_are_whole() {
        let lines = LineIndex::new("SELECT amount_in, amount FROM t");
        let all = Span { start: 0, end: 31 };
        let span = lines.find_word(all, "AMOUNT").expect("it is there");
        assert_eq!(span.start, 18);
        assert_eq!(lines.find_word(all, "amo"), None);
    }
}
