//! What is joined, and the columns that follow from it.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified};

/// Which rows a join shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    /// Every pair of rows that match.
    Inner,
    /// Every pair, and left rows without a match with NULL for the right columns.
    Left,
    /// Every pair, and right rows without a match with NULL for the left columns.
    Right,
    /// Every pair, and the rows of both sides without a match.
    Full,
    /// Left rows that have a match, each once: `EXISTS`, `IN`.
    LeftSemi,
    /// Left rows that have no match: `NOT EXISTS`.
    LeftAnti,
    /// `x NOT IN (…)` with one key and without a condition: all left rows while the right side is empty, none
    /// while it has a NULL, otherwise those that are not NULL and have no match.
    NullAwareAnti,
    /// Every left row, and whether it has a match ([`JoinColumn::Mark`]).
    LeftMark,
}

/// What becomes of a row of one side by itself, beside its pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Solo {
    Never,
    Unmatched,
    Matched,
    /// With a flag that tells.
    Always,
}

impl Solo {
    /// Whether a row with (`true`) or without a match is shown.
    pub(super) fn shows(self, matched: bool) -> bool {
        match self {
            Solo::Never => false,
            Solo::Unmatched => !matched,
            Solo::Matched => matched,
            Solo::Always => true,
        }
    }
}

impl JoinKind {
    /// Whether pairs go out.
    pub(super) fn shows_pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// What becomes of the rows of a side by themselves.
    pub(super) fn solo(self, side: usize) -> Solo {
        match (self, side) {
            (JoinKind::Left | JoinKind::Full | JoinKind::LeftAnti | JoinKind::NullAwareAnti, LEFT) => Solo::Unmatched,
            (JoinKind::LeftSemi, LEFT) => Solo::Matched,
            (JoinKind::LeftMark, LEFT) => Solo::Always,
            (JoinKind::Right | JoinKind::Full, RIGHT) => Solo::Unmatched,
            _ => Solo::Never,
        }
    }
}

/// How long rows are kept to meet others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retain {
    /// As long as they are there: the state grows with the inputs.
    Forever,
    /// Position within the keys of a `Timestamp(Millisecond)`: nothing of a key changes once
    /// `finalized_ms` has reached its time. What is kept of the key is dropped then; its rows stay published.
    KeyTime(usize),
    /// The keys name a block, and rows of both sides go only with their block: nothing is kept of a final block.
    Block,
}

/// A column of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinColumn {
    /// Of the left side.
    Left(usize),
    /// Of the right side; only for kinds that show pairs.
    Right(usize),
    /// Whether the row has a match; only for [`JoinKind::LeftMark`].
    Mark,
}

/// What is joined, and how.
#[derive(Clone, Debug)]
pub struct JoinSpec {
    /// Columns of the left side.
    pub left: SchemaRef,
    /// Columns of the right side.
    pub right: SchemaRef,
    /// Columns that must be equal, left and right, of the same types. None: every row meets every row.
    pub keys: Vec<(usize, usize)>,
    /// Whether NULL keys match each other (`IS NOT DISTINCT FROM`); otherwise they match nothing.
    pub null_equals_null: bool,
    /// Which rows are shown.
    pub kind: JoinKind,
    /// How long rows are kept.
    pub retain: Retain,
    /// Columns of the output in their order.
    pub output: Vec<JoinColumn>,
}

/// What pairs of rows with equal keys must also fulfil.
pub trait PairCondition: 'static {
    /// The columns it reads: places in the columns of the left side followed by those of the right.
    ///
    /// [`PairCondition::evaluate`] is given these columns in this order, and only they are kept in memory.
    /// `None`: all columns.
    fn columns(&self) -> Option<Vec<usize>> {
        None
    }

    /// Whether each pair fulfils it (NULL is no), and the pairs that could not be evaluated with the reason.
    ///
    /// Must depend on nothing but the pair.
    fn evaluate(&mut self, pairs: &RecordBatch) -> (BooleanArray, Vec<(usize, String)>);
}

/// A join that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A column index points past the columns.
    #[error("the {side} side of the join has no column {index}")]
    MissingColumn {
        /// `left`, `right`, or `pair` for the columns of a condition.
        side: &'static str,
        /// The index.
        index: usize,
    },
    /// The keys of the two sides do not pair up.
    #[error("the join has keys {left} and {right}, which differ in type")]
    Keys {
        /// Type of the left key.
        left: DataType,
        /// Type of the right key.
        right: DataType,
    },
    /// The time after which a key cannot change is not one.
    #[error("position {position} of the join's keys is not a timestamp (ms)")]
    KeyTime {
        /// Position within the keys.
        position: usize,
    },
    /// A column that the kind of join does not have.
    #[error("a {kind:?} join has no output column {column:?}")]
    OutputColumn {
        /// The kind.
        kind: JoinKind,
        /// The column.
        column: JoinColumn,
    },
    /// `NOT IN` compares one key and nothing else.
    #[error("a null-aware anti join takes one key and no condition")]
    NullAware,
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for JoinError {
    fn class(&self) -> Class {
        Class::INTERNAL
    }
}

/// Index of the left side.
pub(super) const LEFT: usize = 0;
/// Index of the right side.
pub(super) const RIGHT: usize = 1;

/// Where a column of the output, or of what a condition is given, comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// Side, and place within the columns kept of it.
    Kept(usize, usize),
    /// Side, and place within the keys: not kept, because the row that it meets has it.
    Key(usize, usize),
    Mark,
}

/// The columns of a join.
pub(super) struct Columns {
    /// Key columns of each side.
    pub(super) keys: [Vec<usize>; 2],
    /// Columns of each side that the output or the condition reads, and no row of the other side has.
    pub(super) kept: [Vec<usize>; 2],
    pub(super) output: Vec<Shown>,
    pub(super) output_schema: SchemaRef,
    /// What the condition is given.
    pub(super) pairs: Vec<Shown>,
    pub(super) pairs_schema: SchemaRef,
}

impl Columns {
    pub(super) fn new(spec: &JoinSpec, condition: Option<&dyn PairCondition>) -> Result<Columns, JoinError> {
        check(spec, condition.is_some())?;
        let width = spec.left.fields().len();
        let every = || (0..width + spec.right.fields().len()).collect();
        let read = condition.map_or_else(Vec::new, |condition| condition.columns().unwrap_or_else(every));
        let mut kept = [Vec::new(), Vec::new()];
        let mut pairs = Vec::with_capacity(read.len());
        let mut pair_fields = Vec::with_capacity(read.len());
        for index in read {
            let (side, column) = if index < width { (LEFT, index) } else { (RIGHT, index - width) };
            let schema = [&spec.left, &spec.right][side];
            let field = schema.fields().get(column).ok_or(JoinError::MissingColumn { side: "pair", index })?;
            pair_fields.push(field.clone());
            pairs.push(shown(spec, side, column, &mut kept));
        }
        let (mut output, mut fields) = (Vec::new(), Vec::new());
        for column in &spec.output {
            fields.push(output_field(spec, *column)?);
            output.push(match *column {
                JoinColumn::Left(column) => shown(spec, LEFT, column, &mut kept),
                JoinColumn::Right(column) => shown(spec, RIGHT, column, &mut kept),
                JoinColumn::Mark => Shown::Mark,
            });
        }
        Ok(Columns {
            keys: [
                spec.keys.iter().map(|(left, _)| *left).collect(),
                spec.keys.iter().map(|(_, right)| *right).collect(),
            ],
            kept,
            output,
            output_schema: Arc::new(Schema::new(fields)),
            pairs,
            pairs_schema: Arc::new(Schema::new(pair_fields)),
        })
    }
}

/// Where a column of a side is found. A row that shows only in pairs need not keep its keys, unless equal ones may
/// differ: floats have two zeros.
fn shown(spec: &JoinSpec, side: usize, column: usize, kept: &mut [Vec<usize>; 2]) -> Shown {
    let key = spec.keys.iter().position(|(left, right)| [*left, *right][side] == column);
    let is_float = || [&spec.left, &spec.right][side].field(column).data_type().is_floating();
    if let Some(key) = key.filter(|_| spec.kind.solo(side) == Solo::Never && !is_float()) {
        return Shown::Key(side, key);
    }
    let kept = &mut kept[side];
    Shown::Kept(
        side,
        kept.iter().position(|other| *other == column).unwrap_or_else(|| {
            kept.push(column);
            kept.len() - 1
        }),
    )
}

fn field<'a>(side: &'static str, schema: &'a SchemaRef, index: usize) -> Result<&'a Arc<Field>, JoinError> {
    schema.fields().get(index).ok_or(JoinError::MissingColumn { side, index })
}

fn check(spec: &JoinSpec, has_condition: bool) -> Result<(), JoinError> {
    for (left, right) in &spec.keys {
        let left = field("left", &spec.left, *left)?.data_type();
        let right = field("right", &spec.right, *right)?.data_type();
        if left != right {
            return Err(JoinError::Keys { left: left.clone(), right: right.clone() });
        }
    }
    if spec.kind == JoinKind::NullAwareAnti && (spec.keys.len() != 1 || has_condition) {
        return Err(JoinError::NullAware);
    }
    if let Retain::KeyTime(position) = spec.retain {
        let is_time = |(left, _): &(usize, usize)| {
            matches!(spec.left.field(*left).data_type(), DataType::Timestamp(TimeUnit::Millisecond, _))
        };
        if !spec.keys.get(position).is_some_and(is_time) {
            return Err(JoinError::KeyTime { position });
        }
    }
    Ok(())
}

fn output_field(spec: &JoinSpec, column: JoinColumn) -> Result<Field, JoinError> {
    let optional = |side: usize| spec.kind.shows_pairs() && spec.kind.solo(1 - side) != Solo::Never;
    let of = |side: usize, field: &Arc<Field>| {
        let nullable = field.is_nullable() || optional(side);
        field.as_ref().clone().with_nullable(nullable)
    };
    match column {
        JoinColumn::Left(index) => Ok(of(LEFT, field("left", &spec.left, index)?)),
        JoinColumn::Right(index) if spec.kind.shows_pairs() => Ok(of(RIGHT, field("right", &spec.right, index)?)),
        JoinColumn::Mark if spec.kind == JoinKind::LeftMark => Ok(Field::new("mark", DataType::Boolean, false)),
        column => Err(JoinError::OutputColumn { kind: spec.kind, column }),
    }
}
