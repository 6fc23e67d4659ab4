//! Random queries.

use proptest::prelude::*;
use proptest::sample::select;

use crate::ast::{
    Aggregate, Body, Call, Condition, Frame, From, Inner, JoinKind, On, Operand, Order, Over, OverCall, Pick, Query,
    Recursive, Scalar, Select, SetOperation, Shape, Simple, TimeWindow, Units,
};

fn pick() -> impl Strategy<Value = Pick> + Clone {
    any::<u8>().prop_map(Pick)
}

fn literal() -> impl Strategy<Value = i8> + Clone {
    prop_oneof![3 => -3_i8..8, 1 => -40_i8..90]
}

fn leaf() -> impl Strategy<Value = Simple> + Clone {
    let operand = prop_oneof![2 => literal().prop_map(Operand::Literal), 1 => pick().prop_map(Operand::Column)];
    prop_oneof![
        2 => pick().prop_map(Simple::Flag),
        1 => (pick(), any::<bool>()).prop_map(|(column, negated)| Simple::IsNull { column, negated }),
        5 => (pick(), pick(), operand).prop_map(|(left, operator, right)| Simple::Compare { left, operator, right }),
        1 => (pick(), prop::collection::vec(literal(), 1..4), any::<bool>())
            .prop_map(|(column, values, negated)| Simple::InList { column, values, negated }),
        1 => (pick(), literal(), literal()).prop_map(|(column, low, high)| Simple::Between { column, low, high }),
        1 => pick().prop_map(Simple::Like),
    ]
}

pub(crate) fn simple() -> BoxedStrategy<Simple> {
    let two = (leaf(), leaf());
    prop_oneof![
        6 => leaf(),
        1 => leaf().prop_map(|inner| Simple::Not(Box::new(inner))),
        1 => two.clone().prop_map(|(one, other)| Simple::And(Box::new(one), Box::new(other))),
        1 => two.prop_map(|(one, other)| Simple::Or(Box::new(one), Box::new(other))),
    ]
    .boxed()
}

fn maybe_simple(weight: f64) -> impl Strategy<Value = Option<Simple>> {
    prop::option::weighted(weight, simple())
}

fn inner() -> BoxedStrategy<Inner> {
    (pick(), prop::option::weighted(0.6, (pick(), pick())), maybe_simple(0.4), pick())
        .prop_map(|(table, on, filter, shown)| Inner { table, on, filter, shown })
        .boxed()
}

fn condition() -> BoxedStrategy<Condition> {
    let part = prop_oneof![
        6 => simple().prop_map(Condition::Simple),
        1 => (any::<bool>(), inner()).prop_map(|(negated, inner)| Condition::Exists { negated, inner }),
        2 => (any::<bool>(), pick(), inner()).prop_map(|(negated, value, inner)| Condition::In { negated, value, inner }),
        1 => (pick(), pick(), inner(), any::<bool>())
            .prop_map(|(left, operator, inner, greatest)| Condition::Value { left, operator, inner, greatest }),
        1 => (pick(), inner(), 0_u8..4).prop_map(|(operator, inner, than)| Condition::Count { operator, inner, than }),
    ]
    .boxed();
    prop_oneof![
        4 => part.clone(),
        1 => (part.clone(), part.clone()).prop_map(|(one, other)| Condition::And(Box::new(one), Box::new(other))),
        1 => (part.clone(), part).prop_map(|(one, other)| Condition::Or(Box::new(one), Box::new(other))),
    ]
    .boxed()
}

fn scalar() -> BoxedStrategy<Scalar> {
    prop_oneof![
        8 => pick().prop_map(Scalar::Column),
        1 => (pick(), literal()).prop_map(|(column, more)| Scalar::Plus(column, more)),
        1 => (pick(), pick()).prop_map(|(one, other)| Scalar::Minus(one, other)),
        1 => pick().prop_map(Scalar::Remainder),
        1 => pick().prop_map(Scalar::Absolute),
        1 => (pick(), literal()).prop_map(|(column, value)| Scalar::Coalesce(column, value)),
        1 => (pick(), literal()).prop_map(|(column, value)| Scalar::NullIf(column, value)),
        1 => pick().prop_map(Scalar::Upper),
        1 => (pick(), pick()).prop_map(|(one, other)| Scalar::Concat(one, other)),
        1 => pick().prop_map(Scalar::Length),
        1 => (simple(), pick(), prop::option::of(literal()))
            .prop_map(|(when, then, otherwise)| Scalar::Case { when, then, otherwise }),
        1 => simple().prop_map(Scalar::Truth),
        1 => (inner(), any::<bool>()).prop_map(|(inner, sum)| Scalar::Subquery { inner, sum }),
        1 => (inner(), any::<bool>()).prop_map(|(inner, negated)| Scalar::Exists { negated, inner }),
        1 => (inner(), pick(), any::<bool>()).prop_map(|(inner, value, negated)| Scalar::In { negated, value, inner }),
    ]
    .boxed()
}

fn call() -> BoxedStrategy<Call> {
    let functions = vec![
        Aggregate::CountAll,
        Aggregate::Count,
        Aggregate::CountDistinct,
        Aggregate::Sum,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Average,
        Aggregate::BoolAnd,
        Aggregate::BoolOr,
    ];
    (select(functions), pick(), maybe_simple(0.25))
        .prop_map(|(function, argument, filter)| Call { function, argument, filter })
        .boxed()
}

fn order() -> impl Strategy<Value = Vec<Order>> {
    let key = (pick(), any::<bool>(), any::<bool>());
    let key = key.prop_map(|(column, descending, nulls_first)| Order { column, descending, nulls_first });
    prop::collection::vec(key, 1..3)
}

fn picks(from: usize, to: usize) -> impl Strategy<Value = Vec<Pick>> {
    prop::collection::vec(pick(), from..to)
}

fn over() -> BoxedStrategy<OverCall> {
    let functions = vec![
        Over::RowNumber,
        Over::Rank,
        Over::DenseRank,
        Over::PercentRank,
        Over::CumeDist,
        Over::Ntile,
        Over::Lag,
        Over::Lead,
        Over::First,
        Over::Last,
        Over::Nth,
        Over::CountAll,
        Over::Count,
        Over::Sum,
        Over::Min,
        Over::Max,
        Over::Average,
    ];
    let bound = || prop::option::weighted(0.8, -2_i8..3);
    let frame = (select(vec![Units::Rows, Units::Range, Units::Groups]), bound(), bound())
        .prop_map(|(units, start, end)| Frame { units, start, end });
    (select(functions), pick(), 1_u8..4, picks(0, 2), order(), prop::option::weighted(0.5, frame))
        .prop_map(|(function, argument, number, partition, order, frame)| OverCall {
            function,
            argument,
            number,
            partition,
            order,
            frame,
        })
        .boxed()
}

fn shape() -> BoxedStrategy<Shape> {
    let having = prop::option::weighted(0.3, (0_u8..3, pick(), literal()));
    prop_oneof![
        4 => (prop::collection::vec(scalar(), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(columns, distinct)| Shape::Project { columns, distinct }),
        3 => (prop::collection::vec(scalar(), 0..3), prop::collection::vec(call(), 1..4), having)
            .prop_map(|(keys, calls, having)| Shape::Group { keys, calls, having }),
        2 => (picks(1, 4), prop::collection::vec(over(), 1..3), prop::option::weighted(0.3, (0_u8..3, 1_u8..4)))
            .prop_map(|(kept, calls, qualify)| Shape::Over { kept, calls, qualify }),
        1 => (picks(1, 4), order(), 1_u8..6, prop_oneof![2 => Just(0_u8), 1 => 1_u8..3])
            .prop_map(|(kept, order, limit, offset)| Shape::Top { kept, order, limit, offset }),
        1 => (picks(1, 3), order(), picks(1, 4)).prop_map(|(on, order, kept)| Shape::DistinctOn { on, order, kept }),
    ]
    .boxed()
}

fn window() -> BoxedStrategy<TimeWindow> {
    prop_oneof![
        (10_i64..90).prop_map(|size| TimeWindow::Tumble { size }),
        (7_i64..30, 0_i64..60).prop_map(|(slide, more)| TimeWindow::Hop { slide, size: slide + more }),
        (5_i64..30, 1_i64..4).prop_map(|(step, steps)| TimeWindow::Cumulate { step, steps }),
        (5_i64..40, prop::option::of(pick())).prop_map(|(gap, key)| TimeWindow::Session { gap, key }),
    ]
    .boxed()
}

fn from(depth: u32) -> BoxedStrategy<From> {
    let table = pick().prop_map(From::Table);
    let windowed = (pick(), pick(), window());
    let windowed = windowed.prop_map(|(table, time, window)| From::Windowed { table, time, window });
    if depth == 0 {
        return prop_oneof![3 => table, 1 => windowed].boxed();
    }
    let kinds = select(vec![JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full]);
    let on = prop_oneof![pick().prop_map(On::Same), (pick(), pick()).prop_map(|(one, other)| On::Kind(one, other))];
    let ons = prop_oneof![1 => Just(Vec::new()), 9 => prop::collection::vec(on, 1..3)];
    let join = (kinds, from(depth - 1), from(depth - 1), ons, maybe_simple(0.25));
    let join = join.prop_map(|(kind, left, right, on, residual)| From::Join {
        kind,
        left: Box::new(left),
        right: Box::new(right),
        on,
        residual,
    });
    let lateral = (from(0), inner(), prop::option::of(call()));
    let lateral = lateral.prop_map(|(left, inner, call)| From::Lateral { left: Box::new(left), inner, call });
    prop_oneof![
        3 => table,
        1 => windowed,
        2 => body(depth - 1).prop_map(|body| From::Derived(Box::new(body))),
        3 => join,
        1 => lateral,
    ]
    .boxed()
}

fn a_select(depth: u32) -> BoxedStrategy<Select> {
    let recent = prop::option::weighted(0.15, (5_u8..90, any::<bool>()));
    (from(depth), prop::option::weighted(0.5, condition()), recent, shape())
        .prop_map(|(from, filter, recent, shape)| Select { from, filter, recent, shape })
        .boxed()
}

fn body(depth: u32) -> BoxedStrategy<Body> {
    let select_body = a_select(depth).prop_map(|select| Body::Select(Box::new(select)));
    let operations = select(vec![SetOperation::Union, SetOperation::Intersect, SetOperation::Except]);
    let below = depth.saturating_sub(1);
    let set = (operations, any::<bool>(), a_select(below), a_select(below));
    let set = set.prop_map(|(operation, all, left, right)| Body::Set {
        operation,
        all,
        left: Box::new(left),
        right: Box::new(right),
    });
    let recursive = (pick(), pick(), pick(), prop::option::of(1_u8..3), maybe_simple(0.3));
    let recursive = recursive
        .prop_map(|(table, from, to, steps, filter)| Body::Recursive(Recursive { table, from, to, steps, filter }));
    let components = (pick(), pick(), pick()).prop_map(|(table, from, to)| Body::Components { table, from, to });
    prop_oneof![12 => select_body, 3 => set, 1 => recursive, 1 => components].boxed()
}

/// A random view over up to two others.
pub(crate) fn query() -> BoxedStrategy<Query> {
    let views = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(body(1), 1..3)];
    (views, body(2)).prop_map(|(views, body)| Query { views, body }).boxed()
}
