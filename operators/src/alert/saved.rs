//! The saved form of timelines: one batch, one row a key, its state as JSON.

use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::mismatch;
use crate::rows::{Loaded, Saved};

/// Everything that is saved.
pub(super) struct Rows {
    pub(super) order: i64,
    pub(super) now_ms: i64,
    pub(super) times: Vec<(i64, i64)>,
    pub(super) touched: Vec<(i64, Vec<Vec<u8>>)>,
    pub(super) keys: Vec<(Vec<u8>, String)>,
}

/// A row of the batch.
struct Flat {
    kind: i64,
    order: i64,
    time_ms: i64,
    key: Vec<u8>,
    state: Vec<u8>,
}

/// What a row of the batch is.
const KEY: i64 = 0;
const TIME: i64 = 1;
const TOUCHED: i64 = 2;

pub(super) fn write(name: &str, shape: &str, rows: Rows) -> Result<RecordBatch, StateError> {
    let mut flat: Vec<Flat> = Vec::new();
    let row = |kind, order, time_ms| Flat { kind, order, time_ms, key: Vec::new(), state: Vec::new() };
    flat.extend(rows.keys.into_iter().map(|(key, text)| Flat { key, state: text.into_bytes(), ..row(KEY, 0, 0) }));
    flat.extend(rows.times.into_iter().map(|(order, time_ms)| row(TIME, order, time_ms)));
    for (order, keys) in rows.touched {
        flat.extend(keys.into_iter().map(|key| Flat { key, ..row(TOUCHED, order, 0) }));
    }
    Saved::new(name, shape)
        .fact("order", Some(rows.order))
        .fact("now_ms", Some(rows.now_ms))
        .numbers("kind", flat.iter().map(|row| row.kind))
        .numbers("order", flat.iter().map(|row| row.order))
        .numbers("time_ms", flat.iter().map(|row| row.time_ms))
        .bytes("key", flat.iter().map(|row| &row.key))
        .bytes("state", flat.iter().map(|row| &row.state))
        .finish()
}

pub(super) fn read(name: &str, shape: &str, batch: &RecordBatch) -> Result<Rows, StateError> {
    let loaded = Loaded::open(name, shape, batch)?;
    let fact = |fact: &str| loaded.fact(fact)?.ok_or_else(|| mismatch(name, format!("the saved state has no {fact}")));
    let (order, now_ms) = (fact("order")?, fact("now_ms")?);
    let (kinds, orders, times) = (loaded.numbers("kind")?, loaded.numbers("order")?, loaded.numbers("time_ms")?);
    let (keys, states) = (loaded.bytes("key")?, loaded.bytes("state")?);
    let mut rows = Rows { order, now_ms, times: Vec::new(), touched: Vec::new(), keys: Vec::new() };
    for row in 0..batch.num_rows() {
        let key = keys.value(row).to_vec();
        match kinds.value(row) {
            KEY => {
                let text = String::from_utf8(states.value(row).to_vec());
                rows.keys.push((key, text.map_err(|_| mismatch(name, "a saved state is not text"))?));
            }
            TIME => rows.times.push((orders.value(row), times.value(row))),
            _ => match rows.touched.last_mut().filter(|(order, _)| *order == orders.value(row)) {
                Some((_, keys)) => keys.push(key),
                None => rows.touched.push((orders.value(row), vec![key])),
            },
        }
    }
    Ok(rows)
}

pub(super) fn text(name: &str, value: &impl Serialize) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|error| mismatch(name, format!("its state cannot be written: {error}")))
}

pub(super) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, StateError> {
    serde_json::from_str(text).map_err(|error| mismatch(name, format!("a saved state cannot be read: {error}")))
}
