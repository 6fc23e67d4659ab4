//! Queries as trees that know nothing of the tables they are over.
//!
//! A column is a [`Pick`]: a number that is taken modulo the columns in scope when the query is spelled. So every
//! tree is a valid query over every set of tables, and a smaller tree is a smaller valid query: proptest shrinks a
//! failure by dropping joins, conditions and columns.

/// One of what is in scope, modulo its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick(pub(crate) u8);

/// A view, over views of its own.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Read as tables by what comes after them.
    pub(crate) views: Vec<Body>,
    pub(crate) body: Body,
}

/// A query on its own or in parentheses.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Select(Box<Select>),
    Set { operation: SetOperation, all: bool, left: Box<Select>, right: Box<Select> },
    Recursive(Recursive),
    Components { table: Pick, from: Pick, to: Pick },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOperation {
    Union,
    Intersect,
    Except,
}

/// `WITH RECURSIVE` over the edges that the rows of a table are.
#[derive(Clone, Debug)]
pub(crate) struct Recursive {
    pub(crate) table: Pick,
    pub(crate) from: Pick,
    pub(crate) to: Pick,
    /// `UNION ALL` with this many steps; none is `UNION` up to the end.
    pub(crate) steps: Option<u8>,
    pub(crate) filter: Option<Simple>,
}

#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) from: From,
    pub(crate) filter: Option<Condition>,
    /// Rows of the last seconds, or before them, where the table has block times.
    pub(crate) recent: Option<(u8, bool)>,
    pub(crate) shape: Shape,
}

#[derive(Clone, Debug)]
pub(crate) enum From {
    Table(Pick),
    Windowed { table: Pick, time: Pick, window: TimeWindow },
    Derived(Box<Body>),
    Join { kind: JoinKind, left: Box<From>, right: Box<From>, on: Vec<On>, residual: Option<Simple> },
    Lateral { left: Box<From>, inner: Inner, call: Option<Call> },
}

/// A window of time; seconds.
#[derive(Clone, Debug)]
pub(crate) enum TimeWindow {
    Tumble { size: i64 },
    Hop { slide: i64, size: i64 },
    Cumulate { step: i64, steps: i64 },
    Session { gap: i64, key: Option<Pick> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// Columns that are equal.
#[derive(Clone, Debug)]
pub(crate) enum On {
    /// A column that both sides have from the same kind of table: the block, the end of a window, `k`.
    Same(Pick),
    /// A column of the left side and one of its kind of the right.
    Kind(Pick, Pick),
}

/// A condition over one scope.
#[derive(Clone, Debug)]
pub(crate) enum Simple {
    Flag(Pick),
    IsNull { column: Pick, negated: bool },
    Compare { left: Pick, operator: Pick, right: Operand },
    InList { column: Pick, values: Vec<i8>, negated: bool },
    Between { column: Pick, low: i8, high: i8 },
    Like(Pick),
    Not(Box<Simple>),
    And(Box<Simple>, Box<Simple>),
    Or(Box<Simple>, Box<Simple>),
}

#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Literal(i8),
    Column(Pick),
}

/// A condition with subqueries.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Simple(Simple),
    Exists { negated: bool, inner: Inner },
    In { negated: bool, value: Pick, inner: Inner },
    Value { left: Pick, operator: Pick, inner: Inner, greatest: bool },
    Count { operator: Pick, inner: Inner, than: u8 },
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// A subquery over one table.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) table: Pick,
    /// A column of the outer row and one of the table that must be equal.
    pub(crate) on: Option<(Pick, Pick)>,
    pub(crate) filter: Option<Simple>,
    pub(crate) shown: Pick,
}

/// What a SELECT shows.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Project { columns: Vec<Scalar>, distinct: bool },
    Group { keys: Vec<Scalar>, calls: Vec<Call>, having: Option<(u8, Pick, i8)> },
    Over { kept: Vec<Pick>, calls: Vec<OverCall>, qualify: Option<(u8, u8)> },
    Top { kept: Vec<Pick>, order: Vec<Order>, limit: u8, offset: u8 },
    DistinctOn { on: Vec<Pick>, order: Vec<Order>, kept: Vec<Pick> },
}

#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Column(Pick),
    Plus(Pick, i8),
    Minus(Pick, Pick),
    Remainder(Pick),
    Absolute(Pick),
    Coalesce(Pick, i8),
    NullIf(Pick, i8),
    Upper(Pick),
    Concat(Pick, Pick),
    Length(Pick),
    Case {
        when: Simple,
        then: Pick,
        otherwise: Option<i8>,
    },
    Truth(Simple),
    /// `(SELECT count(*) FROM … WHERE …)`, or the sum of a column.
    Subquery {
        inner: Inner,
        sum: bool,
    },
    /// `EXISTS (SELECT …)` as a value.
    Exists {
        negated: bool,
        inner: Inner,
    },
    /// `x IN (SELECT …)` as a value, which may be NULL.
    In {
        negated: bool,
        value: Pick,
        inner: Inner,
    },
}

/// An aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Aggregate,
    pub(crate) argument: Pick,
    pub(crate) filter: Option<Simple>,
}

/// The aggregate functions that are tried. A new one is a variant here and a line in `spell::aggregate`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aggregate {
    CountAll,
    Count,
    CountDistinct,
    Sum,
    Min,
    Max,
    Average,
    BoolAnd,
    BoolOr,
}

#[derive(Clone, Debug)]
pub(crate) struct OverCall {
    pub(crate) function: Over,
    pub(crate) argument: Pick,
    pub(crate) number: u8,
    pub(crate) partition: Vec<Pick>,
    pub(crate) order: Vec<Order>,
    pub(crate) frame: Option<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    First,
    Last,
    Nth,
    CountAll,
    Count,
    Sum,
    Min,
    Max,
    Average,
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) column: Pick,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) units: Units,
    pub(crate) start: Bound,
    pub(crate) end: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    Rows,
    Range,
    Groups,
}

/// How far a frame goes from the row: below 0 before it, none without end.
pub(crate) type Bound = Option<i8>;
