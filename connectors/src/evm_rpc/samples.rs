//! The table `rpc_samples`: one row a request, riding on the blocks; and one whenever an endpoint was left for
//! another, with `failover` as its method and as `error_kind` why.
//!
//! Rows belong to blocks, so samples wait for the next block that is delivered. When that block is taken
//! back its rows go with it; the samples are kept until the block is final, and those of blocks taken
//! back are attached again to the first block of the new branch, so that none is lost or counted twice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatchOptions, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::model::{BlockRef, TableRows, evm};

use super::breaker::BreakerState;
use super::call::ErrorKind;

/// The table's name without the source.
pub(super) const TABLE: &str = "rpc_samples";

/// Samples kept while no block comes; older ones are dropped.
const MOST_WAITING: usize = 100_000;

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) sampled_at_ms: i64,
    pub(super) endpoint: Arc<str>,
    pub(super) method: &'static str,
    pub(super) http_status: Option<u16>,
    pub(super) jsonrpc_code: Option<i64>,
    /// `None` for an answer that can be used.
    pub(super) error: Option<ErrorKind>,
    pub(super) latency_ms: f64,
    pub(super) head_block: Option<u64>,
    pub(super) head_lag_blocks: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) breaker: BreakerState,
}

/// Columns of the table.
pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let blocks = evm::schema("blocks").expect("every EVM source has blocks");
        let mut fields: Vec<_> = blocks.fields().iter().take(5).map(|field| field.as_ref().clone()).collect();
        let field = |name: &str, kind: DataType, nullable| Field::new(name, kind, nullable);
        fields.extend([
            field("sampled_at", timestamp_type(), false),
            field("endpoint", DataType::Utf8, false),
            field("method", DataType::Utf8, false),
            field("ok", DataType::Boolean, false),
            field("http_status", DataType::Int64, true),
            field("jsonrpc_code", DataType::Int64, true),
            field("error_kind", DataType::Utf8, true),
            field("latency_ms", DataType::Float64, false),
            field("head_block", DataType::Int64, true),
            field("head_lag_blocks", DataType::Int64, true),
            field("bytes", DataType::Int64, true),
            field("retry_after_ms", DataType::Int64, true),
            field("breaker_state", DataType::Utf8, false),
        ]);
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}

/// Samples that wait for a block. Off unless the job reads the table.
#[derive(Debug, Default)]
pub(super) struct SampleLog {
    on: bool,
    waiting: RefCell<VecDeque<Sample>>,
}

impl SampleLog {
    pub(super) fn new(on: bool) -> SampleLog {
        SampleLog { on, waiting: RefCell::default() }
    }

    /// Notes what `make` gives, if the job wants it.
    pub(super) fn note(&self, make: impl FnOnce() -> Sample) {
        if !self.on {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() == MOST_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(make());
    }

    fn take(&self) -> Vec<Sample> {
        self.waiting.borrow_mut().drain(..).collect()
    }
}

/// Puts samples on blocks and takes them along through reorgs.
pub(super) struct SampleTable {
    /// Wanted columns.
    columns: Vec<usize>,
    chain: String,
    chain_id: u64,
    /// What blocks that may still be taken back carry, oldest first.
    carried: VecDeque<(u64, Vec<Sample>)>,
}

impl SampleTable {
    pub(super) fn new(columns: Vec<usize>, chain: String, chain_id: u64) -> SampleTable {
        SampleTable { columns, chain, chain_id, carried: VecDeque::new() }
    }

    /// The rows of a run of `blocks`, which takes back everything from its first height on.
    pub(super) fn attach(&mut self, blocks: &[BlockRef], log: &SampleLog) -> Result<TableRows, ArrowError> {
        let first = blocks.first().expect("a run has a block");
        let mut samples = Vec::new();
        while self.carried.back().is_some_and(|(number, _)| *number >= first.number) {
            let (_, taken_back) = self.carried.pop_back().expect("it was just looked at");
            samples.splice(0..0, taken_back);
        }
        samples.extend(log.take());
        let batch = self.batch(&samples, first)?;
        let ends = vec![samples.len(); blocks.len()];
        if !samples.is_empty() {
            self.carried.push_back((first.number, samples));
        }
        Ok(TableRows { batch, ends })
    }

    /// Blocks up to this height cannot be taken back any more.
    pub(super) fn finalize(&mut self, number: u64) {
        while self.carried.front().is_some_and(|(carrier, _)| *carrier <= number) {
            self.carried.pop_front();
        }
    }

    fn batch(&self, samples: &[Sample], block: &BlockRef) -> Result<RecordBatch, ArrowError> {
        let schema = Arc::new(schema().project(&self.columns)?);
        let arrays = schema.fields().iter().map(|field| self.column(field.name(), samples, block));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(samples.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }

    fn column(&self, name: &str, samples: &[Sample], block: &BlockRef) -> Result<ArrayRef, ArrowError> {
        let rows = samples.len();
        let time = |values: Vec<i64>| Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC"));
        Ok(match name {
            "chain" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.chain, rows))),
            "chain_id" => ints(std::iter::repeat_n(Some(self.chain_id), rows)),
            "block_number" => ints(std::iter::repeat_n(Some(block.number), rows)),
            "block_hash" => {
                let hashes = std::iter::repeat_n(Some(block.hash.0), rows);
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 32)?)
            }
            "block_timestamp" => time(vec![block.timestamp_ms; rows]),
            "sampled_at" => time(samples.iter().map(|sample| sample.sampled_at_ms).collect()),
            "endpoint" => texts(samples.iter().map(|sample| Some(sample.endpoint.as_ref()))),
            "method" => texts(samples.iter().map(|sample| Some(sample.method))),
            "ok" => Arc::new(BooleanArray::from_iter(samples.iter().map(|sample| Some(sample.error.is_none())))),
            "http_status" => ints(samples.iter().map(|sample| sample.http_status.map(u64::from))),
            "jsonrpc_code" => Arc::new(Int64Array::from_iter(samples.iter().map(|sample| sample.jsonrpc_code))),
            "error_kind" => texts(samples.iter().map(|sample| sample.error.map(ErrorKind::name))),
            "latency_ms" => Arc::new(Float64Array::from_iter_values(samples.iter().map(|sample| sample.latency_ms))),
            "head_block" => ints(samples.iter().map(|sample| sample.head_block)),
            "head_lag_blocks" => ints(samples.iter().map(|sample| sample.head_lag_blocks)),
            "bytes" => ints(samples.iter().map(|sample| sample.bytes)),
            "retry_after_ms" => ints(samples.iter().map(|sample| sample.retry_after_ms)),
            "breaker_state" => texts(samples.iter().map(|sample| Some(sample.breaker.name()))),
            other => unreachable!("nothing fills column {other} of {TABLE}: the schema is in this file"),
        })
    }
}

fn ints(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values.map(|value| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)))))
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use highwater_engine::model::BlockHash;

    use super::*;

    fn block(number: u64, branch: u8) -> BlockRef {
        BlockRef { number, hash: BlockHash([branch; 32]), parent: BlockHash::default(), timestamp_ms: 1_000 }
    }

    fn note(log: &SampleLog, bytes: u64) {
        log.note(|| Sample {
            sampled_at_ms: 5,
            endpoint: Arc::from("node#1"),
            method: "eth_chainId",
            http_status: None,
            jsonrpc_code: None,
            error: Some(ErrorKind::Timeout).filter(|_| bytes == 0),
            latency_ms: 1.5,
            head_block: None,
            head_lag_blocks: None,
            bytes: Some(bytes),
            retry_after_ms: None,
            breaker: BreakerState::Closed,
        });
    }

    fn attach(table: &mut SampleTable, log: &SampleLog, blocks: &[BlockRef]) -> Vec<i64> {
        let rows = table.attach(blocks, log).unwrap();
        assert_eq!(rows.ends, vec![rows.batch.num_rows(); blocks.len()]);
        let bytes = rows.batch.column_by_name("bytes").unwrap().as_primitive::<Int64Type>();
        bytes.values().to_vec()
    }

    #[test]
    fn a_reorg_takes_samples_along() {
        let log = SampleLog::new(true);
        let mut table = SampleTable::new((0..schema().fields().len()).collect(), "devnet".to_owned(), 31_337);
        note(&log, 1);
        assert_eq!(attach(&mut table, &log, &[block(1, 1), block(2, 1)]), [1]);
        note(&log, 2);
        assert_eq!(attach(&mut table, &log, &[block(3, 1)]), [2]);
        note(&log, 3);
        assert_eq!(attach(&mut table, &log, &[block(4, 1)]), [3]);
        note(&log, 4);
        // Blocks 3 and 4 go, and what they carried comes again, once, in the order it came.
        assert_eq!(attach(&mut table, &log, &[block(3, 2), block(4, 2)]), [2, 3, 4]);
        assert_eq!(attach(&mut table, &log, &[block(4, 3)]), Vec::<i64>::new());
        table.finalize(3);
        assert_eq!(attach(&mut table, &log, &[block(3, 4)]), Vec::<i64>::new());
    }

    #[test]
    fn nothing_is_kept_for_a_job_that_does_not_read_them() {
        let log = SampleLog::default();
        log.note(|| unreachable!("not even made"));
        assert!(log.take().is_empty());
    }

    #[test]
    fn wanted_columns_only() {
        let log = SampleLog::new(true);
        note(&log, 0);
        let ok = schema().index_of("ok").unwrap();
        let mut table = SampleTable::new(vec![1, ok], "devnet".to_owned(), 31_337);
        let rows = table.attach(&[block(1, 1)], &log).unwrap();
        assert_eq!(rows.batch.schema().fields().len(), 2);
        assert!(!rows.batch.column(1).as_boolean().value(0));
    }
}
