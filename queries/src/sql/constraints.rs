//! What `CREATE TABLE` says of its columns beside their types: keys and defaults. The rest is refused by its name.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    ColumnDef, ColumnOption, ConstraintCharacteristics, Expr, IndexColumn, NullsDistinctOption, Query, TableConstraint,
    Visit, Visitor,
};

use super::ast::{Name, Unique};
use super::parser::{Read, Reader, normal};
use crate::diagnostic::{Code, Diagnostic, Span};

/// The keys and defaults of a table.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    pub(super) primary_key: Vec<String>,
    pub(super) unique: Vec<Unique>,
    pub(super) defaults: Vec<(Name, String)>,
}

const HINT: &str = "a column may have NOT NULL and PRIMARY KEY, in sessions DEFAULT and UNIQUE too";

impl Reader<'_> {
    /// `changes`: whether statements change the table, so that its rows are compared and may leave columns out.
    pub(super) fn constraints(
        &self,
        columns: &[ColumnDef],
        constraints: &[TableConstraint],
        changes: bool,
    ) -> Read<Constraints> {
        let mut read = Constraints::default();
        for column in columns {
            let name = Name { text: normal(&column.name), span: self.place_of(column) };
            for option in &column.options {
                self.column_option(&name, &option.option, &mut read)?;
            }
        }
        let behind = columns.last().map_or(self.span, |column| self.behind(self.place_of(column)));
        for constraint in constraints {
            self.table_constraint(constraint, behind, &mut read)?;
        }
        self.known(columns, &read)?;
        match changes {
            true => Ok(read),
            false => self.fixed(behind, read),
        }
    }

    fn column_option(&self, name: &Name, option: &ColumnOption, read: &mut Constraints) -> Read<()> {
        let behind = self.behind(name.span);
        match option {
            ColumnOption::Null | ColumnOption::NotNull => Ok(()),
            ColumnOption::Default(value) if has_query(value) => {
                Err(self.not_supported("a subquery in DEFAULT", "default", behind).with_hint("write a constant"))
            }
            ColumnOption::Default(value) => {
                read.defaults.push((name.clone(), value.to_string()));
                Ok(())
            }
            ColumnOption::PrimaryKey(key) => {
                self.immediate(key.characteristics, behind)?;
                self.primary(vec![name.text.clone()], behind, read)
            }
            ColumnOption::Unique(unique) => {
                self.immediate(unique.characteristics, behind)?;
                read.unique.push(Unique { columns: vec![name.text.clone()], of_column: true });
                Ok(())
            }
            other => Err(self.not_kept(&other.to_string(), behind)),
        }
    }

    fn table_constraint(&self, constraint: &TableConstraint, behind: Span, read: &mut Constraints) -> Read<()> {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                self.immediate(key.characteristics, behind)?;
                self.primary(self.columns_of(&key.columns, behind)?, behind, read)
            }
            TableConstraint::Unique(unique) => {
                self.immediate(unique.characteristics, behind)?;
                if unique.nulls_distinct == NullsDistinctOption::NotDistinct {
                    return Err(self.not_supported("NULLS NOT DISTINCT", "nulls", behind));
                }
                let columns = self.columns_of(&unique.columns, behind)?;
                read.unique.push(Unique { columns, of_column: false });
                Ok(())
            }
            TableConstraint::ForeignKey(_) => Err(self.not_kept("FOREIGN KEY", behind)),
            TableConstraint::Check(_) => Err(self.not_kept("CHECK", behind)),
            other => Err(self.not_kept(&other.to_string(), behind)),
        }
    }

    fn primary(&self, columns: Vec<String>, behind: Span, read: &mut Constraints) -> Read<()> {
        if !read.primary_key.is_empty() {
            let span = self.lines.find_word(behind, "primary").unwrap_or(behind);
            let twice = Diagnostic::new(Code::DuplicateName, "a table has one primary key", span);
            return Err(twice.with_hint("write PRIMARY KEY (a, b) for a key of several columns"));
        }
        read.primary_key = columns;
        Ok(())
    }

    fn columns_of(&self, columns: &[IndexColumn], behind: Span) -> Read<Vec<String>> {
        let name = |column: &IndexColumn| match &column.column.expr {
            Expr::Identifier(ident) => Ok(normal(ident)),
            _ => Err(self.not_supported("an expression in a key", "key", behind)),
        };
        columns.iter().map(name).collect()
    }

    /// The columns of keys are columns of the table.
    fn known(&self, columns: &[ColumnDef], read: &Constraints) -> Read<()> {
        let named = read.primary_key.iter().chain(read.unique.iter().flat_map(|unique| &unique.columns));
        let missing = named.into_iter().find(|name| columns.iter().all(|column| normal(&column.name) != **name));
        missing.map_or(Ok(()), |name| {
            let message = format!("the table has no column \"{name}\" to make a key of");
            let span = self.lines.find_word(self.span, name).unwrap_or(self.span);
            Err(Diagnostic::new(Code::UnknownColumn, message, span))
        })
    }

    /// A table whose rows no statement changes has nothing to fill in or to compare.
    fn fixed(&self, behind: Span, read: Constraints) -> Read<Constraints> {
        let hint = "the rows of this table come whole: leave it out";
        if let Some((column, _)) = read.defaults.first() {
            return Err(self.not_supported("DEFAULT here", "default", self.behind(column.span)).with_hint(hint));
        }
        match read.unique.first() {
            Some(_) => Err(self.not_supported("UNIQUE here", "unique", behind).with_hint(hint)),
            None => Ok(read),
        }
    }

    fn immediate(&self, characteristics: Option<ConstraintCharacteristics>, behind: Span) -> Read<()> {
        match characteristics {
            Some(given) => Err(self.not_kept(&given.to_string(), behind)),
            None => Ok(()),
        }
    }

    /// Refuses a constraint by the words it begins with.
    fn not_kept(&self, written: &str, behind: Span) -> Diagnostic {
        let words: Vec<&str> = written.split([' ', '(']).take_while(|word| is_upper(word)).take(2).collect();
        let first = words.first().copied().unwrap_or(written);
        self.not_supported(&words.join(" "), &first.to_lowercase(), behind).with_hint(HINT)
    }

    fn not_supported(&self, what: &str, word: &str, within: Span) -> Diagnostic {
        let found = self.lines.find_word(within, word).or_else(|| self.lines.find_word(self.span, word));
        Diagnostic::new(Code::Unsupported, format!("{what} is not supported"), found.unwrap_or(self.span))
    }

    fn place_of(&self, column: &ColumnDef) -> Span {
        self.lines.span(column.name.span).unwrap_or(self.span)
    }

    /// The statement behind a place.
    fn behind(&self, place: Span) -> Span {
        Span { start: place.end.min(self.span.end), end: self.span.end }
    }
}

fn is_upper(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
}

/// Whether a subquery stands in an expression.
pub(crate) fn has_query(value: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    value.visit(&mut Queries).is_break()
}
