//! Reads CREATE TABLE.

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Interval, Value};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::Parser;
use highwater_engine::options::parse_duration;

use super::Name;
use super::ast::{Statement, TableStatement, Watermark};
use super::constraints::Constraints;
use super::parser::{DIALECT, Read, Reader, normal};

impl Reader<'_> {
    pub(super) fn table(&mut self) -> Read<Statement> {
        let if_not_exists = self.word("if");
        if if_not_exists {
            self.expect_word("not")?;
            self.expect_word("exists")?;
        }
        let name = self.name()?;
        let (columns, constraints) = self.parser.parse_columns().map_err(|error| self.syntax(&error))?;
        if self.in_session && self.word("append") {
            self.expect_word("only")?;
        }
        let options = self.options(false)?;
        let mut values = None;
        if self.word("as") {
            if !options.is_empty() {
                let token = self.peek();
                return Err(self.mistake("a table has either options or inline values", &token));
            }
            values = Some(self.query()?.0);
        } else if options.is_empty() && (columns.is_empty() || !self.in_session) {
            let token = self.peek();
            return Err(self
                .mistake("a table needs its rows", &token)
                .with_hint("write WITH (connector = 'csv', path = '…') or AS VALUES (…), (…)"));
        }
        self.end()?;
        let changes = self.in_session && options.is_empty();
        let Constraints { primary_key, unique, defaults } = self.constraints(&columns, &constraints, changes)?;
        let watermark = self.watermark()?;
        Ok(Statement::Table(TableStatement {
            name,
            columns,
            primary_key,
            unique,
            defaults,
            if_not_exists,
            watermark,
            options,
            values,
            span: self.span,
        }))
    }

    /// `WATERMARK FOR column AS column [- INTERVAL '…']`
    fn watermark(&mut self) -> Read<Option<Watermark>> {
        let Some(first) = self.watermark.first().cloned() else { return Ok(None) };
        let refused = || {
            self.mistake("a watermark is its column, or its column less an interval", &first)
                .with_hint("write WATERMARK FOR ts AS ts - INTERVAL '5 minutes'")
        };
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(self.watermark.clone());
        let column = parser.parse_identifier().map_err(|error| self.syntax(&error))?;
        parser.expect_keyword(Keyword::AS).map_err(|error| self.syntax(&error))?;
        let expr = parser.parse_expr().map_err(|error| self.syntax(&error))?;
        let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if normal(ident) == normal(&column));
        let delay_ms = match &expr {
            expr if is_column(expr) => Some(0),
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => match right.as_ref() {
                Expr::Interval(interval) => interval_ms(interval),
                _ => None,
            },
            _ => None,
        };
        let delay_ms = delay_ms.ok_or_else(refused)?;
        let span = self.token_span(&first);
        Ok(Some(Watermark { column: Name { text: normal(&column), span }, delay_ms }))
    }
}

/// The length of a constant interval in milliseconds.
fn interval_ms(interval: &Interval) -> Option<i64> {
    let Expr::Value(value) = interval.value.as_ref() else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let unit = interval.leading_field.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let length = parse_duration(&format!("{text}{unit}"))?;
    i64::try_from(length.as_millis()).ok()
}
