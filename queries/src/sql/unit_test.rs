//! Reads `EXECUTE UNIT TEST`.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::ast::{GivenRows, OptionValue, Statement, UnitTestStatement, UnitTestStep};
use super::parser::{Read, Reader};

const USAGE: &str =
    "write EXECUTE UNIT TEST name FOR view MOCK source.table (columns) AS (query) EXPECTED (columns) AS (query)";

impl Reader<'_> {
    pub(super) fn unit_test(&mut self) -> Read<Statement> {
        self.expect_word("unit")?;
        self.expect_word("test")?;
        let name = self.name()?;
        self.expect_word("for")?;
        let view = self.name()?;
        let at_time = if self.word("at") {
            self.expect_word("time")?;
            match self.value()?.0 {
                OptionValue::Text(text) => Some(text),
                OptionValue::Secret(_) => None,
            }
        } else {
            None
        };
        let mut steps = vec![self.step(0)?];
        while self.word("reorg") {
            let blocks = self.blocks()?;
            steps.push(self.step(blocks)?);
        }
        if steps.last().is_some_and(|step| step.expected.is_none()) {
            let token = self.peek();
            return Err(self.mistake("a unit test ends with what is expected", &token).with_hint(USAGE));
        }
        self.end()?;
        Ok(Statement::UnitTest(UnitTestStatement { name, view, at_time, steps, span: self.span }))
    }

    /// How many blocks a reorg takes back: one if it does not say.
    fn blocks(&mut self) -> Read<u64> {
        let token = self.peek();
        let Token::Number(number, _) = &token.token else { return Ok(1) };
        let blocks = number.parse().map_err(|_| self.mistake("a number of blocks is needed", &token))?;
        self.parser.advance_token();
        Ok(blocks)
    }

    fn step(&mut self, reorg: u64) -> Read<UnitTestStep> {
        let mut mocks = Vec::new();
        while self.word("mock") {
            let relation = self.dotted_name()?;
            mocks.push((relation, self.given_rows()?));
        }
        let expected = if self.word("expected") { Some(self.given_rows()?) } else { None };
        Ok(UnitTestStep { reorg, mocks, expected })
    }

    fn given_rows(&mut self) -> Read<GivenRows> {
        let columns = self.names()?;
        self.expect_word("as")?;
        self.expect_token(&Token::LParen)?;
        let (query, span) = self.query()?;
        self.expect_token(&Token::RParen)?;
        Ok(GivenRows { columns, query, span })
    }
}
