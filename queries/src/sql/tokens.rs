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

/// Keeps `EMIT` behind a query from being the alias of what the query ends with.
pub(super) fn keep_emit(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for at in 0..tokens.len() {
        let word = |offset: usize, word: &str| tokens.get(at + offset).is_some_and(|token| is_word(&token.token, word));
        let how = word(1, "changes") || word(1, "on") && (word(2, "window") && word(3, "close") || word(2, "finality"));
        let emits = word(0, "emit") && how;
        if let Token::Word(word) = &mut tokens[at].token
            && emits
        {
            // A word that is never an alias and that no query goes on with.
            word.keyword = Keyword::EXPLAIN;
        }
    }
    tokens
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

/// Makes `LEFT ASOF JOIN` and `ASOF LEFT JOIN` the `ASOF JOIN` that sqlparser reads, with a mark in the match.
pub(super) fn cut_left_asof(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at + 2 < tokens.len() {
        let word = |offset: usize, word: &str| is_word(&tokens[at + offset].token, word);
        let left = match (word(0, "left") && word(1, "asof"), word(0, "asof") && word(1, "left")) {
            (true, _) => Some(at),
            (_, true) => Some(at + 1),
            _ => None,
        };
        if let Some(left) = left {
            tokens.remove(left);
            mark_match(&mut tokens, at);
        }
        at += 1;
    }
    tokens
}

fn mark_match(tokens: &mut Vec<TokenWithSpan>, from: usize) {
    let Some(open) = (from..tokens.len().saturating_sub(1)).find(|at| is_word(&tokens[*at].token, "match_condition"))
    else {
        return;
    };
    let (open, span) = (open + 1, tokens[open].span);
    let mut depth = 0_usize;
    let close = (open..tokens.len()).find(|at| match tokens[*at].token {
        Token::LParen => {
            depth += 1;
            false
        }
        Token::RParen => {
            depth = depth.saturating_sub(1);
            depth == 0
        }
        _ => false,
    });
    let Some(close) = close else { return };
    let made = |token| TokenWithSpan { token, span };
    tokens.insert(close, made(Token::RParen));
    tokens.insert(open + 1, made(Token::LParen));
    tokens.insert(open + 1, made(Token::make_word(crate::functions::ASOF_LEFT, None)));
}

/// Takes `WATERMARK FOR column AS expression` out of a list of columns; gives its tokens.
pub(super) fn cut_watermark(mut tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Vec<TokenWithSpan>) {
    let found = (0..tokens.len().saturating_sub(1))
        .find(|at| is_word(&tokens[*at].token, "watermark") && is_word(&tokens[at + 1].token, "for"));
    let Some(start) = found.filter(|at| *at > 0) else { return (tokens, Vec::new()) };
    let mut depth = 0_usize;
    let end = (start..tokens.len()).find(|at| match tokens[*at].token {
        Token::LParen => {
            depth += 1;
            false
        }
        Token::RParen if depth == 0 => true,
        Token::RParen => {
            depth -= 1;
            false
        }
        Token::Comma => depth == 0,
        _ => false,
    });
    let Some(end) = end else { return (tokens, Vec::new()) };
    let mut cut: Vec<TokenWithSpan> = tokens.drain(start..end).collect();
    cut.drain(..2);
    // The comma in front of it; behind it if it was the first.
    if tokens[start - 1].token == Token::Comma {
        tokens.remove(start - 1);
    } else if tokens[start].token == Token::Comma {
        tokens.remove(start);
    }
    (tokens, cut)
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

/// A text that begins with a small letter, unless its first word is all capitals: a word of SQL.
pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
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
