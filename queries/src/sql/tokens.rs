//! Small questions about tokens and messages.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Removes a closing `ON ERROR STOP` or `ON ERROR SKIP`.
pub(super) fn cut_on_error(mut tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, bool) {
    if let [.., on, error, action] = tokens.as_slice()
        && is_word(&on.token, "on")
        && is_word(&error.token, "error")
        && (is_word(&action.token, "stop") || is_word(&action.token, "skip"))
    {
        let stop = is_word(&action.token, "stop");
        tokens.truncate(tokens.len() - 3);
        return (tokens, stop);
    }
    (tokens, false)
}

/// Makes `WITH [MUTUALLY] RECURSIVE [(ERROR AT RECURSION LIMIT n)]` what sqlparser reads, and gives the limit.
pub(super) fn cut_mutually(mut tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Option<u64>) {
    let with = |at: usize, tokens: &[TokenWithSpan]| is_word(&tokens[at].token, "with");
    let Some(at) = (0..tokens.len().saturating_sub(1)).find(|at| {
        with(*at, &tokens) && ["mutually", "recursive"].iter().any(|word| is_word(&tokens[at + 1].token, word))
    }) else {
        return (tokens, None);
    };
    if is_word(&tokens[at + 1].token, "mutually") {
        tokens.remove(at + 1);
    }
    let words = ["error", "at", "recursion", "limit"];
    let option = tokens.get(at + 2..at + 9).filter(|option| {
        option[0].token == Token::LParen
            && option[6].token == Token::RParen
            && words.iter().zip(&option[1..]).all(|(word, token)| is_word(&token.token, word))
    });
    let limit = option.and_then(|option| match &option[5].token {
        Token::Number(number, _) => number.parse().ok(),
        _ => None,
    });
    if limit.is_some() {
        tokens.drain(at + 2..at + 9);
    }
    (tokens, limit)
}

/// Lets columns have names that begin an index in other dialects: PostgreSQL's CREATE TABLE has none.
pub(super) fn free_names(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let indexes = [Keyword::KEY, Keyword::INDEX, Keyword::FULLTEXT, Keyword::SPATIAL];
    if tokens.first().is_some_and(|first| is_word(&first.token, "create")) {
        for at in 1..tokens.len() {
            let begins = matches!(tokens[at - 1].token, Token::LParen | Token::Comma);
            if let Token::Word(word) = &mut tokens[at].token
                && begins
                && indexes.contains(&word.keyword)
            {
                word.keyword = Keyword::NoKeyword;
            }
        }
    }
    tokens
}

pub(super) fn not_end(token: &TokenWithSpan) -> bool {
    token.token != Token::EOF
}

/// The word in lower case, unless it is quoted.
pub(super) fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}

pub(super) fn is_word(token: &Token, word: &str) -> bool {
    word_of(token).is_some_and(|found| found == word)
}

pub(super) fn shown(token: &Token) -> String {
    match token {
        Token::EOF => "the end of the statement".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// `… at Line: 3, Column: 14` apart.
pub(super) fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let Some((line, column)) = place.split_once(", Column: ") else { return (text, None) };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (message, Some(Location::new(line, column))),
        _ => (text, None),
    }
}
