//! Reads the text of a job.
//!
//! The text is cut at `;` on the level of tokens, so that one broken statement does not hide
//! mistakes in the next. Each statement is read by hand; queries, expressions and column lists are
//! given to sqlparser.

use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Ident, Query, Setting, Value};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::LineIndex;
use super::ast::{
    AlertStatement, EmitClause, ExplainStatement, ExplainTarget, Job, OptionValue, SecretStatement, SetStatement,
    SinkFrom, SinkStatement, SourceStatement, Statement, ViewStatement,
};
use super::depth::{DEPTH, too_deep};
use super::tokens::{
    cut_left_asof, cut_mutually, cut_on_error, cut_watermark, free_names, is_word, keep_emit, lower_first, shown,
    split_location, word_of,
};
use crate::diagnostic::{Code, Diagnostic, Span, did_you_mean};
use crate::plan::Emit;

/// The setting of a query that holds the limit of its recursion.
pub(crate) const RECURSION_LIMIT: &str = "recursion_limit";

pub(crate) static DIALECT: GenericDialect = GenericDialect {};

/// Reads a job. Every statement that cannot be read gives one diagnostic.
pub fn parse(text: &str) -> Result<Job, Vec<Diagnostic>> {
    let (statements, lines) = pieces(text, |reader| reader.statement())?;
    let mut job = Job { statements, lines, in_session: false };
    job.note_bodies();
    Ok(job)
}

/// Reads the statements of a text one by one.
pub(super) fn pieces<T>(
    text: &str,
    read: impl Fn(&mut Reader<'_>) -> Read<T>,
) -> Result<(Vec<T>, LineIndex), Vec<Diagnostic>> {
    let lines = LineIndex::new(text);
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
        let message = lower_first(&error.message);
        let span = lines.offset(error.location).map(|start| lines.word_at(start));
        let hint = message.contains("string literal").then(|| "close the text with a single quote".to_owned());
        vec![Diagnostic::new(Code::Syntax, message, span).with_hint_opt(hint)]
    })?;
    let mut statements = Vec::new();
    let mut mistakes = Vec::new();
    for piece in tokens.split(|token| token.token == Token::SemiColon) {
        let Some(mut reader) = Reader::new(piece, &lines) else { continue };
        let read = match too_deep(piece) {
            Some(token) => Err(reader.too_deep(token)),
            None => read(&mut reader),
        };
        match read {
            Ok(statement) => statements.push(statement),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok((statements, lines)) } else { Err(mistakes) }
}

/// Reads one statement.
pub(super) struct Reader<'a> {
    pub(super) parser: Parser<'a>,
    pub(super) lines: &'a LineIndex,
    pub(super) span: Span,
    on_error_stop: bool,
    /// `ERROR AT RECURSION LIMIT n`
    recursion_limit: Option<u64>,
    /// The word TABLE of `TUMBLE(TABLE t, DESCRIPTOR(ts), …)`, which does not parse; people know it from elsewhere.
    window_table: Option<TokenWithSpan>,
    /// `column AS expression`, what a table's WATERMARK FOR says.
    pub(super) watermark: Vec<TokenWithSpan>,
    /// Whether tables may be without rows, because statements change them.
    pub(super) in_session: bool,
}

pub(super) type Read<T> = Result<T, Diagnostic>;

impl<'a> Reader<'a> {
    /// A reader of these tokens; none if they are only space and comments.
    fn new(tokens: &[TokenWithSpan], lines: &'a LineIndex) -> Option<Reader<'a>> {
        let solid: Vec<TokenWithSpan> =
            tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).cloned().collect();
        let (first, last) = (solid.first()?, solid.last()?);
        let span = Span { start: lines.offset(first.span.start)?, end: lines.offset(last.span.end)? };
        let (solid, on_error_stop) = cut_on_error(solid);
        let (solid, recursion_limit) = cut_mutually(cut_left_asof(solid));
        let (solid, watermark) = cut_watermark(solid);
        let solid = keep_emit(free_names(solid));
        let window_table = window_table(&solid);
        let parser = Parser::new(&DIALECT).with_tokens_with_locations(solid);
        let in_session = false;
        Some(Reader { parser, lines, span, on_error_stop, recursion_limit, window_table, watermark, in_session })
    }

    pub(super) fn statement(&mut self) -> Read<Statement> {
        let first = self.peek();
        let word = word_of(&first.token).unwrap_or_default();
        match word.as_str() {
            "create" => {
                self.parser.advance_token();
                self.create()
            }
            "set" => {
                self.parser.advance_token();
                self.set()
            }
            "explain" => {
                self.parser.advance_token();
                self.explain()
            }
            "execute" => {
                self.parser.advance_token();
                self.unit_test()
            }
            "select" | "with" | "values" => Err(self
                .mistake("a query alone does nothing", &first)
                .with_hint("show it with CREATE SINK name FROM (query) WITH (connector = 'stdout')")),
            _ => Err(self.unknown_word("a statement", &first, &["create", "set", "explain", "execute"])),
        }
    }

    fn create(&mut self) -> Read<Statement> {
        let replace = self.parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        let materialized = self.word("materialized");
        let token = self.peek();
        let word = word_of(&token.token).unwrap_or_default();
        let known = ["source", "table", "secret", "view", "materialized", "alert", "sink", "function", "event"];
        match word.as_str() {
            "view" | "function" => {}
            _ if materialized => return Err(self.unknown_word("VIEW", &token, &["view"])),
            other if replace && known.contains(&other) => {
                let mistake = self.mistake("OR REPLACE is for views and functions only", &token);
                return Err(mistake.with_hint("remove OR REPLACE"));
            }
            other if known.contains(&other) => {}
            _ => {
                let wanted = "SOURCE, TABLE, SECRET, VIEW, FUNCTION, EVENT, ALERT or SINK";
                return Err(self.unknown_word(wanted, &token, &known));
            }
        }
        self.parser.advance_token();
        match word.as_str() {
            "view" => self.view(replace, materialized),
            "function" if materialized => Err(self.unknown_word("VIEW", &token, &["view"])),
            "function" => self.function(replace),
            "event" => self.event(),
            "source" => self.source(),
            "table" => self.table(),
            "secret" => self.secret(),
            "alert" => self.alert(),
            _ => self.sink(),
        }
    }

    fn source(&mut self) -> Read<Statement> {
        let name = self.name()?;
        if self.peek().token == Token::LParen {
            let token = self.peek();
            return Err(self
                .mistake("a source has no column list", &token)
                .with_hint("its tables and columns come with the connector: write WITH (connector = …)"));
        }
        let options = self.options(true)?;
        self.end()?;
        Ok(Statement::Source(SourceStatement { name, options, span: self.span }))
    }

    fn secret(&mut self) -> Read<Statement> {
        let name = self.name()?;
        let options = self.options(true)?;
        self.end()?;
        Ok(Statement::Secret(SecretStatement { name, options, span: self.span }))
    }

    fn view(&mut self, replace: bool, materialized: bool) -> Read<Statement> {
        let name = self.name()?;
        let columns = if self.peek().token == Token::LParen { self.names()? } else { Vec::new() };
        let options = self.options(false)?;
        let mut emit = if self.in_session { self.emit()? } else { None };
        self.expect_word("as")?;
        let (query, query_span) = self.query()?;
        if self.in_session && emit.is_none() {
            emit = self.emit()?;
        }
        if is_word(&self.peek().token, "emit") {
            let token = self.peek();
            return Err(self.mistake("a view has no EMIT", &token).with_hint("EMIT belongs at the end of CREATE SINK"));
        }
        self.end()?;
        Ok(Statement::View(ViewStatement {
            name,
            replace,
            materialized,
            columns,
            options,
            on_error_stop: self.on_error_stop,
            emit: emit.map(|clause| clause.emit),
            query,
            query_span,
            span: self.span,
        }))
    }

    fn alert(&mut self) -> Read<Statement> {
        let name = self.name()?;
        let from = self.from()?;
        let options = self.options(true)?;
        let emit = self.emit()?;
        self.end()?;
        Ok(Statement::Alert(AlertStatement { name, from, options, emit, span: self.span }))
    }

    fn from(&mut self) -> Read<SinkFrom> {
        self.expect_word("from")?;
        if !self.parser.consume_token(&Token::LParen) {
            return self.name().map(SinkFrom::View);
        }
        let (query, span) = self.query()?;
        self.expect_token(&Token::RParen)?;
        Ok(SinkFrom::Query(query, span))
    }

    fn sink(&mut self) -> Read<Statement> {
        let name = self.name()?;
        let from = self.from()?;
        let options = self.options(false)?;
        let emit = self.emit()?;
        self.end()?;
        Ok(Statement::Sink(SinkStatement { name, from, options, emit, span: self.span }))
    }

    fn emit(&mut self) -> Read<Option<EmitClause>> {
        let first = self.peek();
        if !self.word("emit") {
            return Ok(None);
        }
        let start = self.token_span(&first);
        let emit = if self.word("changes") {
            Emit::Changes
        } else {
            self.expect_word("on")?;
            if self.word("finality") {
                Emit::OnFinality
            } else if self.word("window") {
                self.expect_word("close")?;
                Emit::OnWindowClose
            } else {
                let token = self.peek();
                return Err(self
                    .mistake(format!("expected WINDOW CLOSE or FINALITY, found {}", shown(&token.token)), &token)
                    .with_hint("EMIT CHANGES, EMIT ON WINDOW CLOSE or EMIT ON FINALITY"));
            }
        };
        let end = self.token_span(&self.parser.get_current_token().clone());
        Ok(Some(EmitClause { emit, span: start.to(end) }))
    }

    fn set(&mut self) -> Read<Statement> {
        let name = self.dotted_name()?;
        if !self.word("to") {
            self.expect_token(&Token::Eq)?;
        }
        let (value, value_span) = self.value()?;
        self.end()?;
        match value {
            OptionValue::Text(value) => Ok(Statement::Set(SetStatement { name, value, value_span })),
            OptionValue::Secret(_) => {
                Err(Diagnostic::new(Code::Syntax, "a setting cannot be a secret", Some(value_span)))
            }
        }
    }

    fn explain(&mut self) -> Read<Statement> {
        let state = self.word("state");
        let next = self.peek();
        let parenthesised = next.token == Token::LParen;
        let is_query = matches!(word_of(&next.token).as_deref(), Some("select" | "with" | "values"));
        let target = if parenthesised || is_query {
            let (query, span) = self.query()?;
            ExplainTarget::Query(query, span)
        } else {
            ExplainTarget::View(self.name()?)
        };
        self.end()?;
        Ok(Statement::Explain(ExplainStatement { state, target, span: self.span }))
    }

    /// A query and its place.
    pub(super) fn query(&mut self) -> Read<(Box<Query>, Span)> {
        let first = self.peek();
        let start = self.token_span(&first);
        if let Some(table) = &self.window_table {
            let mistake = self.mistake("TABLE and DESCRIPTOR are not used in a window", table);
            return Err(mistake.with_hint("write TUMBLE(table, time_column, INTERVAL '5 minutes')"));
        }
        let mut query = self.parser.parse_query().map_err(|error| self.syntax(&error))?;
        if let Some(limit) = self.recursion_limit {
            let value = SqlExpr::value(Value::Number(limit.to_string(), false));
            query.settings = Some(vec![Setting { key: Ident::new(RECURSION_LIMIT), value }]);
        }
        let end = self.token_span(&self.parser.get_current_token().clone());
        Ok((query, start.to(end)))
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = is_word(&self.peek().token, word);
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Read<()> {
        let token = self.peek();
        if self.word(word) { Ok(()) } else { Err(self.unknown_word(&word.to_uppercase(), &token, &[word])) }
    }

    pub(super) fn expect_token(&mut self, wanted: &Token) -> Read<()> {
        let token = self.peek();
        if self.parser.consume_token(wanted) {
            return Ok(());
        }
        let message = format!("expected {wanted}, found {}", shown(&token.token));
        Err(self.mistake(message, &token))
    }

    pub(super) fn end(&mut self) -> Read<()> {
        let token = self.peek();
        if token.token == Token::EOF {
            return Ok(());
        }
        let message = format!("expected the end of the statement, found {}", shown(&token.token));
        let starts = |token: &Token| matches!(word_of(token).as_deref(), Some("create" | "set" | "explain"));
        // CREATE may have been read as the alias of a column.
        let new_statement = starts(&token.token) || starts(&self.parser.get_current_token().token);
        let hint = new_statement.then(|| "put a ; between statements".to_owned());
        Err(self.mistake(message, &token).with_hint_opt(hint))
    }

    pub(super) fn peek(&self) -> TokenWithSpan {
        self.parser.peek_token()
    }

    pub(super) fn token_span(&self, token: &TokenWithSpan) -> Span {
        let end = Span { start: self.span.end, end: self.span.end };
        if token.token == Token::EOF { end } else { self.lines.span(token.span).unwrap_or(end) }
    }

    pub(super) fn mistake(&self, message: impl Into<String>, token: &TokenWithSpan) -> Diagnostic {
        Diagnostic::new(Code::Syntax, message, self.token_span(token))
    }

    pub(super) fn unknown_word(&self, wanted: &str, token: &TokenWithSpan, known: &[&str]) -> Diagnostic {
        let hint = word_of(&token.token).and_then(|word| did_you_mean(&word, known.iter().copied()));
        self.mistake(format!("expected {wanted}, found {}", shown(&token.token)), token)
            .with_hint_opt(hint.map(|hint| hint.to_uppercase().replace("DID YOU MEAN", "did you mean")))
    }

    fn too_deep(&self, token: &TokenWithSpan) -> Diagnostic {
        let message = format!("more than {DEPTH} operators, joins or set operations follow on each other");
        self.mistake(message, token).with_hint(
            "write many values as IN (…) or as a table to join, and a long sum, concatenation or UNION in parts, each a view",
        )
    }

    /// What the parser does not read at all, by its name.
    fn unread(&self, message: &str, span: Span) -> Option<Diagnostic> {
        if message.to_lowercase() == "expected ), found exclude" {
            let refused = Diagnostic::new(Code::Unsupported, "EXCLUDE in a frame is not supported yet", span);
            return Some(refused.with_hint("compute it over the whole frame and take the current row off"));
        }
        message.strip_prefix("no infix parser for token ")?;
        let operator = self.lines.text_of(span);
        let refused = Diagnostic::new(Code::Unsupported, format!("operator {operator} is not supported"), span);
        let hint = (operator == "#").then(|| "exclusive or is (a | b) - (a & b)".to_owned());
        Some(refused.with_hint_opt(hint))
    }

    /// An error of sqlparser: its text ends in the place.
    pub(super) fn syntax(&self, error: &ParserError) -> Diagnostic {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => "the query is nested too deeply",
        };
        let (message, location) = split_location(text);
        let end = Span { start: self.span.end, end: self.span.end };
        let span = location.and_then(|location| self.lines.offset(location)).map_or(end, |at| self.lines.word_at(at));
        let message = lower_first(&message.replacen("Expected: ", "expected ", 1).replace(", found: ", ", found "))
            .replace("found EOF", "found the end of the statement");
        if let Some(refused) = self.unread(&message, span) {
            return refused;
        }
        let hint = message.ends_with("found FROM").then(|| "remove the comma before FROM".to_owned());
        Diagnostic::new(Code::Syntax, message, span).with_hint_opt(hint)
    }
}

/// The word TABLE as the first argument of a window.
fn window_table(tokens: &[TokenWithSpan]) -> Option<TokenWithSpan> {
    let standard = |three: &&[TokenWithSpan]| {
        matches!(word_of(&three[0].token).as_deref(), Some("tumble" | "hop"))
            && three[1].token == Token::LParen
            && is_word(&three[2].token, "table")
    };
    tokens.windows(3).find(standard).map(|three| three[2].clone())
}

/// A name as SQL compares it.
pub(crate) fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
