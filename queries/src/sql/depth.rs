//! How deep the tree of a statement will be, told from its tokens: before anything walks the tree.
//!
//! `a + b + c` and `… UNION ALL … UNION ALL …` are trees as deep as they are long, and each step down takes stack of
//! everything that plans and evaluates them. Parentheses alone are limited by sqlparser.

use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Levels that are planned and evaluated with room to spare (`ROOM` of the planner, stacks of the workers).
pub(super) const DEPTH: usize = 500;

/// What binds looser than what: OR, AND and NOT, sums, products.
const OR: usize = 0;
const AND: usize = 1;
const SUM: usize = 2;
const PRODUCT: usize = 3;

/// What is counted since the last opening parenthesis.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators of one expression: of what is looser, those that the present ones are operands of.
    operators: [usize; 4],
    /// Joins of one FROM.
    joins: usize,
    /// Set operations.
    sets: usize,
}

impl Level {
    fn depth(self) -> usize {
        self.operators.iter().sum::<usize>() + self.joins + self.sets
    }

    /// An operator; what binds tighter begins anew.
    fn operator(&mut self, binding: usize) {
        self.operators[binding] += 1;
        self.operators[binding + 1..].fill(0);
    }

    /// A comparison, whose sides are sums.
    fn comparison(&mut self) {
        self.operators[SUM..].fill(0);
    }
}

/// The token at which a statement is deeper than [`DEPTH`].
pub(super) fn too_deep(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let (mut outer, mut levels, mut level) = (0, Vec::new(), Level::default());
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                outer += level.depth();
                levels.push(std::mem::take(&mut level));
            }
            Token::RParen | Token::RBracket => {
                level = levels.pop().unwrap_or_default();
                outer -= level.depth().min(outer);
            }
            Token::Comma => level.operators = [0; 4],
            Token::Mul | Token::Div | Token::Mod => level.operator(PRODUCT),
            Token::Plus
            | Token::Minus
            | Token::StringConcat
            | Token::Ampersand
            | Token::Pipe
            | Token::Caret
            | Token::ShiftLeft
            | Token::ShiftRight => level.operator(SUM),
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => level.comparison(),
            Token::Word(word) => match word.keyword {
                Keyword::OR => level.operator(OR),
                Keyword::AND | Keyword::NOT => level.operator(AND),
                Keyword::JOIN => level = Level { operators: [0; 4], joins: level.joins + 1, ..level },
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
                    level = Level { sets: level.sets + 1, ..Level::default() };
                }
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::ON
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::QUALIFY
                | Keyword::ORDER
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE => level.operators = [0; 4],
                _ => {}
            },
            _ => {}
        }
        if outer + level.depth() > DEPTH {
            return Some(token);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::sql::parser::DIALECT;

    fn is_too_deep(text: &str) -> bool {
        let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().expect("tokens");
        too_deep(&tokens).is_some()
    }

    #[test]
    fn what_follows_on_each_other_is_counted() {
        let chain = |part: &str, link: &str, len: usize| vec![part; len].join(link);
        for (len, too_deep) in [(DEPTH + 1, false), (DEPTH + 2, true)] {
            assert_eq!(is_too_deep(&chain("a", " + ", len)), too_deep);
            assert_eq!(is_too_deep(&chain("a = 1", " OR ", len)), too_deep);
            assert_eq!(is_too_deep(&chain("SELECT a FROM t", " UNION ALL ", len)), too_deep);
            assert_eq!(is_too_deep(&format!("SELECT a FROM {}", chain("t", " NATURAL JOIN ", len))), too_deep);
            assert_eq!(is_too_deep(&format!("SELECT {}a{}", "(1 + ".repeat(len - 1), ")".repeat(len - 1))), too_deep);
        }
    }

    #[test]
    fn what_stands_side_by_side_is_not() {
        let pairs = vec!["a = 1 AND b + 1 = 2 * c"; DEPTH - 10].join(" OR ");
        assert!(!is_too_deep(&format!("SELECT a FROM t WHERE {pairs}")));
        let many = |part: &str| vec![part; 2_000].join(", ");
        assert!(!is_too_deep(&format!("SELECT {} FROM t WHERE a IN ({})", many("a + (b * 2)"), many("-1"))));
        assert!(!is_too_deep(&format!("SELECT CASE {} END", "WHEN a = 1 AND b = 2 THEN 3 ".repeat(2_000))));
        assert!(!is_too_deep(&"SELECT a + b FROM t WHERE a = 1 AND b = 2 UNION ".repeat(DEPTH)));
    }
}
