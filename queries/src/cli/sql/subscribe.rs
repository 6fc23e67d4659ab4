//! `SUBSCRIBE`: the rows that are there, then every change as it is sealed.
//!
//! The columns are `tick`, `block`, `progressed`, `diff`, then those of the view. Over a job each tick is one
//! step of the query in this process, fed by the changes of the views that it reads, so retractions are as exact
//! as the job's own. Without a job nothing changes while it waits: the rows that are there, and the end.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int64Array, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::error::BoxError;
use highwater_engine::model::{Delta, Progress};
use highwater_engine::sink::Terminal;

use super::super::print;
use super::super::serve::protocol::{Kind, Request};
use super::remote::Remote;
use super::show::{Format, Writer};
use super::statements::{Statements, Stop};
use crate::session::{Following, SessionError, Subscription};

/// Runs a subscription to its end.
pub(super) fn run(statements: &mut Statements, subscription: &Subscription) -> Result<(), Stop> {
    let remote = statements.remote.clone();
    let is_remote = |name: &str| remote.as_ref().is_some_and(|remote| remote.has(name));
    let following = statements.session.follow(subscription, &is_remote)?;
    let views: Vec<String> = following.tables.iter().filter(|name| is_remote(name)).cloned().collect();
    let rows = RowWriter::new(statements.format, &following.schema, statements.streams.stdout);
    match remote {
        Some(remote) if !views.is_empty() => {
            let stop = statements.interrupts.arm();
            let followed = over_job(&remote, views, following, rows, subscription, &stop);
            statements.interrupts.disarm();
            followed
        }
        _ => at_once(following, rows, subscription, statements.session.now_ms),
    }
}

/// Without a job: the rows that are there.
fn at_once(
    mut following: Following,
    mut rows: RowWriter,
    subscription: &Subscription,
    now_ms: i64,
) -> Result<(), Stop> {
    let there = following.step(0, now_ms, Vec::new())?;
    if let Some(there) = there.filter(|_| subscription.snapshot) {
        rows.changes(0, None, &there)?;
    }
    if subscription.progress {
        rows.progressed(0, None)?;
    }
    Ok(())
}

fn over_job(
    remote: &Remote,
    views: Vec<String>,
    mut following: Following,
    mut rows: RowWriter,
    subscription: &Subscription,
    stop: &AtomicBool,
) -> Result<(), Stop> {
    let outside = |error: BoxError| Stop::Mistake(SessionError::World(error));
    // A query needs the rows that are there even where they are not shown. `now()` moves with every tick.
    let request = Request::Subscribe { subscribe: views, snapshot: true, progress: true };
    let mut conversation = remote.open(&request).map_err(|error| outside(error.into()))?;
    let mut waiting: Vec<(usize, Delta)> = Vec::new();
    let mut first = true;
    loop {
        let message = conversation.next(&mut || stop.load(Ordering::Relaxed));
        let Some((header, batch)) = message.map_err(|error| outside(error.into()))? else { return Ok(()) };
        match (header.kind, batch) {
            (Kind::Rows | Kind::Change, Some(batch)) => {
                let table = following.tables.iter().position(|table| Some(table) == header.view.as_ref());
                let delta = delta_of(header.kind, batch).map_err(outside)?;
                waiting.extend(table.map(|table| (table, delta)));
            }
            (Kind::Tick, _) => {
                let at = At::of(header.progress.as_ref());
                if subscription.up_to.is_some_and(|up_to| at.tick >= up_to) {
                    return if first { Err(outside(too_late(subscription, at).into())) } else { Ok(()) };
                }
                let changed = following.step(at.tick, at.now_ms, std::mem::take(&mut waiting))?;
                match changed {
                    Some(changed) if !first || subscription.snapshot => rows.changes(at.tick, at.block, &changed)?,
                    _ if subscription.progress => rows.progressed(at.tick, at.block)?,
                    _ => {}
                }
                first = false;
            }
            (Kind::End, _) => {
                // Nothing can be done about a closed standard error.
                let _ = writeln!(std::io::stderr(), "the job has ended");
                return Ok(());
            }
            _ => {}
        }
    }
}

fn too_late(subscription: &Subscription, at: At) -> String {
    let up_to = subscription.up_to.unwrap_or_default();
    format!("UP TO {up_to} is over: the job is at tick {}", at.tick)
}

/// Where the chain is.
#[derive(Clone, Copy)]
struct At {
    tick: u64,
    block: Option<u64>,
    now_ms: i64,
}

impl At {
    fn of(progress: Option<&Progress>) -> At {
        match progress {
            Some(progress) => At { tick: progress.tick, block: Some(progress.head_number), now_ms: progress.now_ms },
            None => At { tick: 0, block: None, now_ms: 0 },
        }
    }
}

fn delta_of(kind: Kind, batch: RecordBatch) -> Result<Delta, BoxError> {
    let count = batch.num_rows();
    if kind == Kind::Rows {
        return Ok(Delta::derived(batch, vec![1; count]));
    }
    let last = batch.num_columns().checked_sub(1).ok_or("a change without columns")?;
    let diffs = batch.column(last).as_primitive_opt::<Int64Type>().ok_or("a change without its counts")?;
    let diffs = diffs.values().to_vec();
    let columns: Vec<usize> = (0..last).collect();
    Ok(Delta::derived(batch.project(&columns)?, diffs))
}

/// Writes the rows of a subscription.
struct RowWriter {
    schema: SchemaRef,
    writer: Writer,
    text: String,
}

/// The columns before those of the view.
fn schema_of(view: &SchemaRef) -> SchemaRef {
    let mut fields = vec![
        Field::new("tick", DataType::Int64, false),
        Field::new("block", DataType::Int64, true),
        Field::new("progressed", DataType::Boolean, false),
        Field::new("diff", DataType::Int64, true),
    ];
    fields.extend(view.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
}

impl RowWriter {
    fn new(format: Format, view: &SchemaRef, terminal: Terminal) -> RowWriter {
        let schema = schema_of(view);
        RowWriter { writer: Writer::new(format, &schema, terminal), schema, text: String::new() }
    }

    fn changes(&mut self, tick: u64, block: Option<u64>, delta: &Delta) -> Result<(), Stop> {
        let diffs: ArrayRef = Arc::new(delta.diffs.to_array(delta.len()));
        self.write(tick, block, false, diffs, delta.batch.columns().to_vec())
    }

    fn progressed(&mut self, tick: u64, block: Option<u64>) -> Result<(), Stop> {
        let nulls = self.schema.fields().iter().skip(4).map(|field| new_null_array(field.data_type(), 1));
        let nulls = nulls.collect();
        self.write(tick, block, true, new_null_array(&DataType::Int64, 1), nulls)
    }

    fn write(
        &mut self,
        tick: u64,
        block: Option<u64>,
        progressed: bool,
        diffs: ArrayRef,
        columns: Vec<ArrayRef>,
    ) -> Result<(), Stop> {
        let count = diffs.len();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut all: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_value(number(tick), count)),
            Arc::new(Int64Array::from(vec![block.map(number); count])),
            Arc::new(BooleanArray::from(vec![progressed; count])),
            diffs,
        ];
        all.extend(columns);
        let batch = RecordBatch::try_new(self.schema.clone(), all);
        let batch = batch.map_err(|error| Stop::Mistake(SessionError::Row(error.to_string())))?;
        self.text.clear();
        self.writer.write(&mut self.text, &batch);
        print(&self.text).map_err(Stop::Cli)
    }
}

/// Ctrl-C while something is followed ends that, and at any other time the process.
#[derive(Default)]
pub(super) struct Interrupts {
    watched: Option<Arc<Watched>>,
}

#[derive(Default)]
struct Watched {
    armed: AtomicBool,
    stop: Arc<AtomicBool>,
}

impl Interrupts {
    /// From now on Ctrl-C sets the flag.
    fn arm(&mut self) -> Arc<AtomicBool> {
        let watched = self.watched.get_or_insert_with(watch);
        watched.stop.store(false, Ordering::Relaxed);
        watched.armed.store(true, Ordering::Relaxed);
        watched.stop.clone()
    }

    fn disarm(&self) {
        if let Some(watched) = &self.watched {
            watched.armed.store(false, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::exit, reason = "Ctrl-C while nothing is followed asks for just that")]
fn watch() -> Arc<Watched> {
    let watched = Arc::new(Watched::default());
    let (seen, (ready, is_ready)) = (watched.clone(), std::sync::mpsc::sync_channel(1));
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            loop {
                let interrupt = tokio::signal::ctrl_c();
                tokio::pin!(interrupt);
                // The first look puts the handler in place.
                let at_once = tokio::time::timeout(std::time::Duration::ZERO, &mut interrupt).await;
                // Only the first turn is waited for.
                let _ = ready.try_send(());
                let came = match at_once {
                    Ok(came) => came,
                    Err(_) => interrupt.await,
                };
                if came.is_err() {
                    return;
                }
                let already = seen.stop.swap(true, Ordering::Relaxed);
                if already || !seen.armed.load(Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
    // A thread that could not start leaves Ctrl-C as it is.
    let _ = is_ready.recv();
    watched
}
