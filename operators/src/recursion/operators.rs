//! The operators of the private dataflow, for rounds and for what stands outside of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::consolidation::{ConsolidatingContainerBuilder, consolidate_updates};
use differential_dataflow::lattice::Lattice;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::cursor::Cursor;
use differential_dataflow::trace::implementations::{
    ContainerChunker, KeyBatcher, KeyBuilder, KeySpine, ValBatcher, ValBuilder, ValSpine,
};
use differential_dataflow::trace::{BatchCursor, Navigable};
use differential_dataflow::{AsCollection as _, VecCollection};
use highwater_engine::model::{Delta, errors_schema};
use highwater_engine::operator::{BatchOperator, Output};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;
use timely::progress::Timestamp;

use super::dataflow::Round;
use super::groups::Groups;
use super::layout::{KeyCut, Projection};
use super::row::{Columns, Row};

/// A relation, as changes.
pub(super) type Rows<'s, T> = VecCollection<'s, T, Row, i64>;
type KeyedTrace<T> = TraceAgent<ValSpine<Row, Row, T, i64>>;
/// A relation by a key, with what is needed of the rest of its rows.
pub(super) type Keyed<'s, T> = Arranged<'s, KeyedTrace<T>>;

/// What happens to rows beside the dataflow: since a tick is worked off whole before anyone looks, the
/// changes of all its rounds are added up and need no time.
#[derive(Clone, Default)]
pub(super) struct Aside {
    /// Error rows.
    pub(super) errors: Rc<RefCell<BTreeMap<Row, i64>>>,
    /// The first reason not to go on.
    pub(super) failure: Rc<RefCell<Option<String>>>,
}

impl Aside {
    pub(super) fn fail(&self, reason: impl FnOnce() -> String) {
        self.failure.borrow_mut().get_or_insert_with(reason);
    }

    fn add(&self, error: Row, diff: i64) {
        *self.errors.borrow_mut().entry(error).or_default() += diff;
    }
}

/// Rows that came out of the dataflow.
pub(super) type Collected = Rc<RefCell<Vec<(Row, i64)>>>;

/// Codec of [`errors_schema`].
pub(super) fn error_columns() -> Columns {
    Columns::new(&errors_schema()).expect("text can be encoded")
}

/// A stateless operator over whole batches.
pub(super) fn batch<'s, T: Timestamp + Lattice>(
    rows: Rows<'s, T>,
    mut operator: Box<dyn BatchOperator>,
    (from, to): (Columns, Columns),
    aside: Aside,
) -> Rows<'s, T> {
    let errors = error_columns();
    rows.inner
        .unary::<ConsolidatingContainerBuilder<_>, _, _, _>(Pipeline, "Batch", move |_, _| {
            move |input, output| {
                input.for_each(|time, data: &mut Vec<(Row, T, i64)>| {
                    // By time: the operator sees one time at once, as little as possible of it, in one order.
                    data.sort_by(|left, right| left.1.cmp(&right.1).then_with(|| left.0.cmp(&right.0)));
                    let mut session = output.session_with_builder(&time);
                    for run in data.chunk_by(|left, right| left.1 == right.1) {
                        let batch = from.decode(run.iter().map(|(row, ..)| row));
                        let mut result = Output::default();
                        let diffs = run.iter().map(|(.., diff)| *diff).collect();
                        operator.on_delta(Delta::derived(batch, diffs), &mut result);
                        for delta in result.deltas.iter().filter(|delta| !delta.is_empty()) {
                            let rows = to.encode(&delta.batch).into_iter().enumerate();
                            session.give_iterator(rows.map(|(at, row)| (row, run[0].1.clone(), delta.diffs.at(at))));
                        }
                        for delta in result.errors.iter().filter(|delta| !delta.is_empty()) {
                            let rows = errors.encode(&delta.batch).into_iter().enumerate();
                            rows.for_each(|(at, row)| aside.add(row, delta.diffs.at(at)));
                        }
                        if let Some(reason) = result.failure {
                            aside.fail(|| reason);
                        }
                    }
                    data.clear();
                });
            }
        })
        .as_collection()
}

/// Each row once.
pub(super) fn distinct<'s, T: Timestamp + Lattice>(rows: Rows<'s, T>) -> Rows<'s, T> {
    by_itself(rows, "Distinct")
        .reduce_abelian::<_, KeyBuilder<Row, T, i64>, KeySpine<Row, T, i64>, _, _>(
            "Distinct",
            |_, input, output| output.extend((input[0].1 > 0).then_some(((), 1))),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(unit, time, diff)| ((key.clone(), unit), time, diff)));
            },
        )
        .as_collection(|row, ()| row.clone())
}

/// The same rows, each change of them once: without it, changes that cancel would go round for ever.
pub(super) fn consolidate<'s, T: Timestamp + Lattice>(rows: Rows<'s, T>) -> Rows<'s, T> {
    by_itself(rows, "Consolidate").as_collection(|row, ()| row.clone())
}

fn by_itself<'s, T: Timestamp + Lattice>(
    rows: Rows<'s, T>,
    name: &str,
) -> Arranged<'s, TraceAgent<KeySpine<Row, T, i64>>> {
    arrange_core::<
        _,
        _,
        ContainerChunker<Vec<((Row, ()), T, i64)>>,
        KeyBatcher<Row, T, i64>,
        KeyBuilder<Row, T, i64>,
        KeySpine<Row, T, i64>,
    >(rows.map(|row| (row, ())).inner, Pipeline, name)
}

/// The rows by key.
pub(super) fn keyed<'s, T: Timestamp + Lattice>(rows: Rows<'s, T>, mut cut: KeyCut) -> Keyed<'s, T> {
    arrange_core::<
        _,
        _,
        ContainerChunker<Vec<((Row, Row), T, i64)>>,
        ValBatcher<Row, Row, T, i64>,
        ValBuilder<Row, Row, T, i64>,
        ValSpine<Row, Row, T, i64>,
    >(rows.flat_map(move |row| cut.cut(row)).inner, Pipeline, "Keyed")
}

/// Pairs of rows with the same key; `flipped` if `left` is the right side of the join.
pub(super) fn join<'s, T, Left, Right>(
    left: Arranged<'s, Left>,
    right: Arranged<'s, Right>,
    mut output: Projection<3>,
    flipped: bool,
) -> Rows<'s, T>
where
    T: Timestamp + Lattice,
    Left: TraceReader<Batch: Navigable, Time = T> + Clone + 'static,
    Right: TraceReader<Batch: Navigable, Time = T> + Clone + 'static,
    for<'a> BatchCursor<Left>:
        Cursor<Key<'a> = &'a Row, Val<'a> = &'a Row, Time = T, Diff = i64, KeyContainer = Vec<Row>>,
    for<'a> BatchCursor<Right>: Cursor<Key<'a> = &'a Row, Val<'a> = &'a Row, Time = T, Diff = i64>,
{
    left.join_core(right, move |key: &Row, left: &Row, right: &Row| {
        let (left, right) = if flipped { (right, left) } else { (left, right) };
        Some(output.apply([key.as_bytes(), left.as_bytes(), right.as_bytes()]))
    })
}

/// One row for each key.
pub(super) fn aggregate<'s, T: Timestamp + Lattice>(
    rows: Keyed<'s, T>,
    mut groups: Groups,
    aside: Aside,
) -> Rows<'s, T> {
    let fails = groups.can_fail();
    let mut buffer: Vec<u8> = Vec::new();
    let rows = rows
        .reduce_abelian::<_, ValBuilder<Row, Row, T, i64>, ValSpine<Row, Row, T, i64>, _, _>(
            "Aggregate",
            move |key, input, output| output.extend(groups.evaluate(key, input).map(|row| (row, 1))),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(value, time, diff)| ((key.clone(), value), time, diff)));
            },
        )
        .as_collection(move |key, value| {
            // An error row has no place for the key.
            if Groups::error(value).is_some() {
                return value.clone();
            }
            buffer.clear();
            buffer.extend_from_slice(key.as_bytes());
            buffer.extend_from_slice(value.as_bytes());
            Row::from(buffer.as_slice())
        });
    if fails { without_errors(rows, aside) } else { rows }
}

fn without_errors<'s, T: Timestamp + Lattice>(rows: Rows<'s, T>, aside: Aside) -> Rows<'s, T> {
    rows.inner
        .unary::<ConsolidatingContainerBuilder<_>, _, _, _>(Pipeline, "Errors", move |_, _| {
            move |input, output| {
                input.for_each(|time, data: &mut Vec<(Row, T, i64)>| {
                    data.retain(|(row, _, diff)| match Groups::error(row) {
                        Some(error) => {
                            aside.add(error, *diff);
                            false
                        }
                        None => true,
                    });
                    output.session_with_builder(&time).give_iterator(data.drain(..));
                });
            }
        })
        .as_collection()
}

/// Takes the rows out of the dataflow; the stream it gives has none, and tells when all have come.
pub(super) fn collect<'s, T: Timestamp + Lattice>(rows: Rows<'s, T>, result: Option<Collected>) -> Rows<'s, T> {
    rows.inner
        .unary::<ConsolidatingContainerBuilder<_>, _, _, _>(Pipeline, "Collect", move |_, _| {
            move |input, _output| {
                input.for_each(|_, data: &mut Vec<(Row, T, i64)>| match &result {
                    Some(result) => result.borrow_mut().extend(data.drain(..).map(|(row, _, diff)| (row, diff))),
                    None => data.clear(),
                });
            }
        })
        .as_collection()
}

/// Lets no change pass in a round from `limit` on, and fails for it.
pub(super) fn limit(rows: Rows<'_, Round>, limit: u64, name: String, aside: Aside) -> Rows<'_, Round> {
    rows.inner
        .unary::<ConsolidatingContainerBuilder<_>, _, _, _>(Pipeline, "Limit", move |_, _| {
            move |input, output| {
                input.for_each(|time, data: &mut Vec<(Row, Round, i64)>| {
                    consolidate_updates(data);
                    if data.iter().any(|(_, round, _)| round.inner >= limit) {
                        aside.fail(|| format!("recursion \"{name}\" did not come to an end after {limit} rounds"));
                        data.retain(|(_, round, _)| round.inner < limit);
                    }
                    output.session_with_builder(&time).give_iterator(data.drain(..));
                });
            }
        })
        .as_collection()
}
