//! What is joined by nearness in time, and the columns that follow from it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use highwater_engine::error::{Class, Classified};

use crate::rows::is_i64;

/// Which right rows a left row may meet; it meets the nearest of them in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsofCondition {
    /// `left.t >= right.t`.
    AtOrBefore,
    /// `left.t > right.t`.
    Before,
    /// `left.t <= right.t`.
    AtOrAfter,
    /// `left.t < right.t`.
    After,
}

/// What becomes of left rows that meet none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsofKind {
    /// They are not shown.
    Inner,
    /// They are shown with NULL for the right columns.
    Left,
}

/// A column of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsofColumn {
    /// Of the left side.
    Left(usize),
    /// Of the right side.
    Right(usize),
}

/// How far the times of rows may lie before the time of their block. Both sides' times must be bounded so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AsofClosing {
    /// Of the left side, milliseconds.
    pub left_ms: i64,
    /// Of the right side, milliseconds.
    pub right_ms: i64,
}

/// What is joined, and how.
#[derive(Clone, Debug)]
pub struct AsofSpec {
    /// Columns of the left side.
    pub left: SchemaRef,
    /// Columns of the right side. All of them decide which of two rows of one time is met.
    pub right: SchemaRef,
    /// Columns that must be equal, left and right, of the same types; NULL matches nothing. May be none.
    pub keys: Vec<(usize, usize)>,
    /// The time columns, left and right: `Int64` or `Timestamp(Millisecond)`.
    pub times: (usize, usize),
    /// Which right rows may be met.
    pub condition: AsofCondition,
    /// What becomes of left rows that meet none.
    pub kind: AsofKind,
    /// Bounds the state: what is final leaves memory, and its rows stay published. The times must be timestamps.
    pub closing: Option<AsofClosing>,
    /// Columns of the output in their order.
    pub output: Vec<AsofColumn>,
}

/// An ASOF join that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AsofError {
    /// A column index points past the columns.
    #[error("the {side} side of the ASOF join has no column {index}")]
    MissingColumn {
        /// `left` or `right`.
        side: &'static str,
        /// The index.
        index: usize,
    },
    /// The keys of the two sides do not pair up.
    #[error("the ASOF join has keys {left} and {right}, which differ in type")]
    Keys {
        /// Type of the left key.
        left: DataType,
        /// Type of the right key.
        right: DataType,
    },
    /// The times cannot be compared, or not with the time of blocks.
    #[error("the ASOF join cannot compare the times {left} and {right}; cast both to timestamp (ms)")]
    Times {
        /// Type of the left time.
        left: DataType,
        /// Type of the right time.
        right: DataType,
    },
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for AsofError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

fn field<'a>(side: &'static str, schema: &'a SchemaRef, index: usize) -> Result<&'a Arc<Field>, AsofError> {
    schema.fields().get(index).ok_or(AsofError::MissingColumn { side, index })
}

impl AsofSpec {
    /// Checks the columns and gives those of the output.
    pub(super) fn output_schema(&self) -> Result<SchemaRef, AsofError> {
        for (left, right) in &self.keys {
            let left = field("left", &self.left, *left)?.data_type();
            let right = field("right", &self.right, *right)?.data_type();
            if left != right {
                return Err(AsofError::Keys { left: left.clone(), right: right.clone() });
            }
        }
        let left = field("left", &self.left, self.times.0)?.data_type();
        let right = field("right", &self.right, self.times.1)?.data_type();
        let closes = self.closing.is_none() || left != &DataType::Int64;
        // Time zones are for people: the instants compare.
        let comparable = (left == &DataType::Int64) == (right == &DataType::Int64);
        if !is_i64(left) || !is_i64(right) || !comparable || !closes {
            return Err(AsofError::Times { left: left.clone(), right: right.clone() });
        }
        let mut fields = Vec::with_capacity(self.output.len());
        for column in &self.output {
            fields.push(match *column {
                AsofColumn::Left(index) => field("left", &self.left, index)?.as_ref().clone(),
                AsofColumn::Right(index) => {
                    let field = field("right", &self.right, index)?.as_ref().clone();
                    let nullable = field.is_nullable() || self.kind == AsofKind::Left;
                    field.with_nullable(nullable)
                }
            });
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}
