//! What a recursion is: relations, the bodies that define them, and how far it may go.

use std::fmt;
use std::rc::Rc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::{Class, Classified};
use highwater_engine::operator::BatchOperator;

use crate::aggregate::{AggregateError, AggregateSpec};
use crate::broadcast_join::JoinKind;

/// Makes a stateless operator; called again when a state is loaded.
///
/// Two bodies with the same factory (the same [`Rc`]) over the same input are evaluated once.
pub type BatchFactory = Rc<dyn Fn() -> Box<dyn BatchOperator>>;

/// `WITH [MUTUALLY] RECURSIVE bindings SELECT * FROM result`.
///
/// All bindings begin empty. A round brings them up to date in their order: a body reads bindings before its
/// own as they are in this round, itself and those after it as they were in the round before. The rounds
/// go on until one of them changes nothing; what the bindings hold then is the answer. A query over it can be a
/// last binding that no other reads.
///
/// `WITH RECURSIVE r AS (base UNION step)` is one binding with `distinct` and a union as its body. With
/// `UNION ALL` it is the same without `distinct`: each derivation counts, so it ends on data without cycles only.
#[derive(Clone, Debug)]
pub struct RecursionSpec {
    /// Columns of the relations from outside.
    pub inputs: Vec<SchemaRef>,
    /// The recursive relations.
    pub bindings: Vec<Binding>,
    /// Index of the binding that is the operator's relation.
    pub result: usize,
    /// How many rounds may change what the round after them reads; a tick that needs more ends the job.
    pub limit: u64,
}

/// A relation that may be defined by itself.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name, for messages.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its definition, with the same types.
    pub body: Body,
    /// Whether each row counts once (`UNION`).
    pub distinct: bool,
}

/// The definition of a relation.
#[derive(Clone)]
pub enum Body {
    /// A relation from outside.
    Input(usize),
    /// A binding.
    Variable(usize),
    /// Rows that are always there.
    Values(RecordBatch),
    /// What a stateless, linear operator makes of it. Rows that it cannot evaluate are error rows of the
    /// recursion, if they are still there when the rounds are over.
    Batch {
        /// The relation.
        input: Box<Body>,
        /// The operator; its rows have the columns of `schema`.
        operator: BatchFactory,
        /// Columns of the result.
        schema: SchemaRef,
    },
    /// Some of its columns, in this order: cheaper than [`Body::Batch`], for nothing is decoded.
    Project {
        /// The relation.
        input: Box<Body>,
        /// The columns.
        columns: Vec<usize>,
    },
    /// `UNION ALL`; at least one.
    Union(Vec<Body>),
    /// Each row once.
    Distinct(Box<Body>),
    /// A join.
    Join(Box<RecursiveJoin>),
    /// `GROUP BY`; without keys there is always one row.
    Aggregate {
        /// The relation.
        input: Box<Body>,
        /// Keys and calls; `closing` is not used.
        spec: AggregateSpec,
    },
}

/// A join of two bodies.
#[derive(Clone)]
pub struct RecursiveJoin {
    /// Left side.
    pub left: Body,
    /// Right side.
    pub right: Body,
    /// Columns of the left and of the right side that must be equal, of the same type; none: every pair.
    pub keys: Vec<(usize, usize)>,
    /// Whether NULL equals NULL, as in set operations.
    pub null_equals_null: bool,
    /// What is kept: pairs, or rows of the left side that do or do not find one.
    pub kind: JoinKind,
    /// A filter over the columns of the left side and then those of the right.
    pub condition: Option<BatchFactory>,
    /// Columns of the result: those of the left side, and after them, for [`JoinKind::Inner`] and
    /// [`JoinKind::LeftOuter`], those of the right.
    pub output: Vec<usize>,
}

impl Body {
    /// `left EXCEPT right` over this many columns: each row once, NULL equal to NULL.
    pub fn except(left: Body, right: Body, columns: usize) -> Body {
        Body::set(left, right, columns, JoinKind::Anti)
    }

    /// `left INTERSECT right` over this many columns: each row once, NULL equal to NULL.
    pub fn intersect(left: Body, right: Body, columns: usize) -> Body {
        Body::set(left, right, columns, JoinKind::Semi)
    }

    fn set(left: Body, right: Body, columns: usize, kind: JoinKind) -> Body {
        Body::Join(Box::new(RecursiveJoin {
            left: Body::Distinct(Box::new(left)),
            right,
            keys: (0..columns).map(|column| (column, column)).collect(),
            null_equals_null: true,
            kind,
            condition: None,
            output: (0..columns).collect(),
        }))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Input(index) => write!(f, "Input({index})"),
            Body::Variable(index) => write!(f, "Variable({index})"),
            Body::Values(batch) => write!(f, "Values({} rows)", batch.num_rows()),
            Body::Batch { input, .. } => write!(f, "Batch({input:?})"),
            Body::Project { input, columns } => write!(f, "Project({input:?}, {columns:?})"),
            Body::Union(bodies) => f.debug_tuple("Union").field(bodies).finish(),
            Body::Distinct(body) => f.debug_tuple("Distinct").field(body).finish(),
            Body::Join(join) => {
                write!(f, "{:?}Join({:?}, {:?}, {:?})", join.kind, join.left, join.right, join.keys)
            }
            Body::Aggregate { input, spec } => write!(f, "Aggregate({input:?}, {:?})", spec.keys),
        }
    }
}

/// A recursion that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecursionError {
    /// A relation, a binding or a column that is not there.
    #[error("there is no {what} {index} (there are {count})")]
    Missing {
        /// What it is.
        what: &'static str,
        /// The index.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A union of nothing.
    #[error("a union needs at least one relation")]
    EmptyUnion,
    /// Two sides of a union or of a join key, or a body and its binding, differ.
    #[error("{what} has the columns ({found}), not ({wanted})")]
    Types {
        /// What has them.
        what: String,
        /// Its types.
        found: String,
        /// The types it must have.
        wanted: String,
    },
    /// A type that rows of a recursion cannot have.
    #[error("columns of type {data_type} cannot be part of a recursion; cast them, or leave them out")]
    ColumnType {
        /// The type.
        data_type: DataType,
    },
    /// An aggregate that cannot be built.
    #[error("an aggregate inside the recursion cannot be built")]
    Aggregate(#[from] AggregateError),
    /// The columns cannot be encoded.
    #[error("encoding the columns as rows failed")]
    Rows(#[from] ArrowError),
}

impl Classified for RecursionError {
    fn class(&self) -> Class {
        match self {
            RecursionError::ColumnType { .. } => Class::USER,
            RecursionError::Aggregate(error) => error.class(),
            _ => Class::INTERNAL,
        }
    }
}
