//! Bodies for the tests of recursion, and the workers that run them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use highwater_engine::model::{Delta, Progress, error_delta};
use highwater_engine::operator::{BatchOperator, Output, Share, TablesOperator as _};
use highwater_operators::aggregate::{AggregateCall, AggregateFunction, AggregateSpec};
use highwater_operators::broadcast_join::JoinKind;
use highwater_operators::recursion::{BatchFactory, Binding, Body, Recursion, RecursionSpec, RecursiveJoin};

use crate::reference::{Bag, Batches, Cell, Row};

pub(crate) const BATCHES: Batches = Batches { read, write };

pub(crate) fn numbers(width: usize) -> SchemaRef {
    let field = |column: usize| Field::new(format!("c{column}"), DataType::Int64, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

pub(crate) fn texts(width: usize) -> SchemaRef {
    let field = |column: usize| Field::new(format!("c{column}"), DataType::Utf8, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

pub(crate) fn write(rows: &[Row]) -> RecordBatch {
    write_as(&numbers(rows.first().map_or(2, Vec::len)), rows)
}

pub(crate) fn write_as(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
        match field.data_type() {
            DataType::Utf8 => Arc::new(
                rows.iter()
                    .map(|row| if let Cell::Text(text) = &row[index] { Some(text.as_str()) } else { None })
                    .collect::<StringArray>(),
            ),
            _ => Arc::new(
                rows.iter()
                    .map(|row| if let Cell::Int(value) = row[index] { Some(value) } else { None })
                    .collect::<Int64Array>(),
            ),
        }
    };
    let columns = schema.fields().iter().enumerate().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap()
}

pub(crate) fn read(batch: &RecordBatch) -> Vec<Row> {
    let cell = |column: &ArrayRef, row: usize| match column.data_type() {
        _ if column.is_null(row) => Cell::Null,
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(38, 0) => Cell::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        other => panic!("no cells of {other}"),
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

/// Keeps rows of numbers for which the function is true.
pub(crate) struct Filter<F>(F);

impl<F: Fn(&Row) -> bool + 'static> BatchOperator for Filter<F> {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let keep: BooleanArray = read(&input.batch).iter().map(|row| Some((self.0)(row))).collect();
        let diffs = (0..input.len()).filter(|row| keep.value(*row)).map(|row| input.diffs.at(row)).collect();
        let batch = filter_record_batch(&input.batch, &keep).unwrap();
        output.deltas.push(Delta::derived(batch, diffs));
    }
}

pub(crate) fn filter(keep: impl Fn(&Row) -> bool + Clone + 'static) -> BatchFactory {
    Rc::new(move || Box::new(Filter(keep.clone())))
}

/// Makes a row of numbers of each, or an error row.
pub(crate) struct Change<F>(F);

impl<F: Fn(&Row) -> Result<Row, String> + 'static> BatchOperator for Change<F> {
    fn on_delta(&mut self, input: Delta, output: &mut Output) {
        let (mut rows, mut diffs, mut errors, mut error_diffs) = (vec![], vec![], vec![], vec![]);
        for (at, row) in read(&input.batch).iter().enumerate() {
            match (self.0)(row) {
                Ok(row) => {
                    rows.push(row);
                    diffs.push(input.diffs.at(at));
                }
                Err(error) => {
                    errors.push((error, format!("{row:?}")));
                    error_diffs.push(input.diffs.at(at));
                }
            }
        }
        output.deltas.push(Delta::derived(write(&rows), diffs));
        output.errors.push(error_delta(&errors, error_diffs, input.origin));
    }
}

pub(crate) fn change(make: impl Fn(&Row) -> Result<Row, String> + Clone + 'static) -> BatchFactory {
    Rc::new(move || Box::new(Change(make.clone())))
}

pub(crate) fn with(input: Body, operator: BatchFactory, width: usize) -> Body {
    Body::Batch { input: Box::new(input), operator, schema: numbers(width) }
}

pub(crate) fn project(input: Body, columns: &[usize]) -> Body {
    Body::Project { input: Box::new(input), columns: columns.to_vec() }
}

pub(crate) fn join(kind: JoinKind, left: Body, right: Body, keys: &[(usize, usize)], output: &[usize]) -> Body {
    Body::Join(Box::new(RecursiveJoin {
        left,
        right,
        keys: keys.to_vec(),
        null_equals_null: false,
        kind,
        condition: None,
        output: output.to_vec(),
    }))
}

pub(crate) fn aggregate(
    input: Body,
    width: usize,
    keys: &[usize],
    calls: &[(AggregateFunction, Option<usize>)],
) -> Body {
    // A count of an argument is one of its different values.
    let call = |(function, argument): &(AggregateFunction, Option<usize>)| AggregateCall {
        distinct: *function == AggregateFunction::Count,
        ..AggregateCall::new(*function, argument.iter().copied().collect::<Vec<_>>(), "call")
    };
    let calls = calls.iter().map(call).collect();
    Body::Aggregate {
        input: Box::new(input),
        spec: AggregateSpec { input: numbers(width), keys: keys.to_vec(), calls, closing: None },
    }
}

pub(crate) fn binding(name: &str, width: usize, distinct: bool, body: Body) -> Binding {
    Binding { name: name.to_owned(), schema: numbers(width), body, distinct }
}

pub(crate) fn spec(bindings: Vec<Binding>, limit: u64) -> RecursionSpec {
    let result = bindings.len() - 1;
    RecursionSpec { inputs: vec![numbers(2), numbers(2)], bindings, result, limit }
}

/// Several workers of which the first does everything.
pub(crate) struct Workers {
    spec: RecursionSpec,
    pub(crate) workers: Vec<Recursion>,
    pub(crate) rows: Bag,
    pub(crate) errors: Bag,
    pub(crate) failure: Option<String>,
}

impl Workers {
    pub(crate) fn new(spec: &RecursionSpec, count: usize) -> Workers {
        let (rows, errors) = (Bag::new(), Bag::new());
        let mut workers = Workers { spec: spec.clone(), workers: Vec::new(), rows, errors, failure: None };
        workers.start(count, &[]);
        workers
    }

    fn start(&mut self, count: usize, state: &[RecordBatch]) {
        self.workers = (0..count).map(|_| Recursion::new("view/recursion-0", self.spec.clone()).unwrap()).collect();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.load(state, Share { index, peers: count }).unwrap();
        }
    }

    pub(crate) fn restart(&mut self, count: usize) {
        let state: Vec<RecordBatch> = self.workers.iter().flat_map(|worker| worker.save().unwrap()).collect();
        let entries = self.workers[0].size().entries;
        self.start(count, &state);
        assert_eq!(self.workers[0].size().entries, entries);
    }

    pub(crate) fn tick(&mut self, inputs: Vec<Vec<Delta>>, progress: &Progress) {
        let nothing = vec![Vec::new(); inputs.len()];
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let mut output = Output::default();
            let given = if index == 0 { inputs.clone() } else { nothing.clone() };
            worker.on_tick(given, progress, &mut output);
            if index > 0 {
                assert!(output.deltas.is_empty() && output.errors.is_empty(), "only the first worker has anything");
                assert!(worker.save().unwrap().is_empty());
            }
            for delta in &output.deltas {
                assert_eq!(delta.batch.schema_ref(), worker.output_schema());
                let rows = read(&delta.batch);
                assert!(rows.is_sorted_by(|one, other| one < other), "each row once, in order");
            }
            take(&mut self.rows, &output.deltas);
            take(&mut self.errors, &output.errors);
            self.failure = self.failure.take().or(output.failure);
        }
    }
}

pub(crate) fn take(bag: &mut Bag, deltas: &[Delta]) {
    for delta in deltas {
        for (at, row) in read(&delta.batch).into_iter().enumerate() {
            assert_ne!(delta.diffs.at(at), 0, "a change of nothing");
            *bag.entry(row).or_default() += delta.diffs.at(at);
        }
    }
    bag.retain(|_, count| *count != 0);
}

pub(crate) fn bag(rows: impl IntoIterator<Item = Row>) -> Bag {
    let mut bag = Bag::new();
    rows.into_iter().for_each(|row| *bag.entry(row).or_default() += 1);
    bag
}

pub(crate) fn int(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap())
}

/// `r AS (base UNION SELECT r.0, e.1 FROM r JOIN edges e ON r.1 = e.0)`.
pub(crate) fn closure(distinct: bool) -> Vec<Binding> {
    let step = join(JoinKind::Inner, Body::Variable(0), Body::Input(0), &[(1, 0)], &[0, 3]);
    vec![binding("reach", 2, distinct, Body::Union(vec![Body::Input(0), step]))]
}

/// The least node that a node is connected with.
pub(crate) fn components(columns: fn(usize) -> SchemaRef) -> Vec<Binding> {
    let both = Body::Union(vec![Body::Input(0), project(Body::Input(0), &[1, 0])]);
    let own = project(both.clone(), &[0, 0]);
    let step = join(JoinKind::Inner, Body::Variable(0), both, &[(0, 0)], &[3, 1]);
    let least = AggregateCall::new(AggregateFunction::Min, vec![1], "label");
    let spec = AggregateSpec { input: columns(2), keys: vec![0], calls: vec![least], closing: None };
    let body = Body::Aggregate { input: Box::new(Body::Union(vec![own, step])), spec };
    vec![Binding { name: "label".to_owned(), schema: columns(2), body, distinct: false }]
}
