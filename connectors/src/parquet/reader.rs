//! Brings the tables together by block number.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int64Array, RecordBatchOptions, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::{BlockRef, BlockRun, TableRows};
use highwater_engine::source::{ReadRequest, SourceError, SourceEvent, SourceReader};

use super::blocks::BlockMaker;
use super::layout;
use super::options::Settings;
use super::stream::{Cut, IdentityColumns, Segment, TableStream};
use super::table::{Origin, Table};
use crate::range::BlockRange;

/// Delivers runs as large as the batches of the files.
pub(super) struct ParquetReader {
    /// The wanted tables in order, and after them the table of blocks if it was not among them.
    streams: Vec<TableStream>,
    schemas: Vec<SchemaRef>,
    /// The stream of the table of blocks.
    blocks: Option<usize>,
    maker: BlockMaker,
    resume: Option<u64>,
    chain: String,
    chain_id: i64,
}

impl ParquetReader {
    pub(super) fn start(
        settings: &Settings,
        tables: &[Arc<Table>],
        request: &ReadRequest,
    ) -> Result<ParquetReader, SourceError> {
        let mut range = BlockRange::of(request);
        // The block of the cursor is read again to learn its hash, and not delivered.
        range.from = range.from.max(request.resume.unwrap_or(0));
        let blocks_table = tables.iter().find(|table| table.name == "blocks" && has(table, "block_number"));
        let mut streams = Vec::with_capacity(request.tables.len() + 1);
        let mut schemas = Vec::with_capacity(request.tables.len());
        for wanted in &request.tables {
            let table = find(tables, &wanted.name)?;
            let schema = table.schema.project(&wanted.columns).map_err(|error| internal(&error))?;
            schemas.push(Arc::new(schema));
            let is_blocks = blocks_table.is_some_and(|blocks| Arc::ptr_eq(blocks, table));
            let identity = IdentityColumns {
                time: is_blocks || !blocks_table.is_some_and(|blocks| has(blocks, "block_timestamp")),
                hash: is_blocks || !blocks_table.is_some_and(|blocks| has(blocks, "block_hash")),
                parent: is_blocks,
            };
            streams.push(TableStream::new(table.clone(), wanted.columns.clone(), identity, range));
        }
        let wanted_blocks = request.tables.iter().position(|wanted| wanted.name == "blocks");
        let blocks = match (wanted_blocks, blocks_table) {
            (Some(index), _) => Some(index),
            (None, Some(table)) => {
                let identity = IdentityColumns { time: true, hash: true, parent: true };
                streams.push(TableStream::new(table.clone(), Vec::new(), identity, range));
                Some(streams.len() - 1)
            }
            (None, None) => None,
        };
        let chain = settings.chain.clone().or_else(|| tables.iter().find_map(|table| network(table)));
        Ok(ParquetReader {
            streams,
            schemas,
            blocks,
            maker: BlockMaker::new(settings.chain_id),
            resume: request.resume,
            chain: chain.unwrap_or_else(|| "ethereum".to_owned()),
            chain_id: i64::try_from(settings.chain_id).unwrap_or(i64::MAX),
        })
    }

    /// Everything that is whole in all tables, as one run; `None` at the end.
    fn read_run(&mut self) -> Result<Option<BlockRun>, SourceError> {
        let mut limit = None;
        for stream in &mut self.streams {
            let whole = stream.fill()?;
            limit = [limit, whole].into_iter().flatten().min();
        }
        let Some(limit) = limit else { return Ok(None) };
        let cuts = self.streams.iter_mut().map(|stream| stream.cut(limit)).collect::<Result<Vec<_>, _>>()?;
        let (blocks, ends) = self.align(&cuts);
        let tables = self.streams.iter().zip(cuts).zip(ends).zip(&self.schemas);
        let tables = tables.map(|(((stream, cut), ends), schema)| self.table_rows(stream, cut, ends, &blocks, schema));
        let run = BlockRun { tables: tables.collect::<Result<_, _>>().map_err(|error| internal(&error))?, blocks };
        let known = run.blocks.first().is_some_and(|block| self.resume.is_some_and(|resume| block.number <= resume));
        Ok(Some(if known { run.slice(1, run.blocks.len()) } else { run }))
    }

    /// Merges the heights of all tables; for each table, the end of its rows at each height.
    fn align(&mut self, cuts: &[Cut]) -> (Vec<BlockRef>, Vec<Vec<usize>>) {
        let most = cuts.iter().map(|cut| cut.segments.len()).max().unwrap_or(0);
        let mut blocks = Vec::with_capacity(most);
        let mut ends: Vec<Vec<usize>> = cuts.iter().map(|_| Vec::with_capacity(most)).collect();
        let mut at = vec![0; cuts.len()];
        loop {
            let heads = || cuts.iter().zip(&at).map(|(cut, at)| cut.segments.get(*at));
            let Some(number) = heads().flatten().map(|segment| segment.number).min() else { return (blocks, ends) };
            let here = |segment: &Option<&Segment>| segment.is_some_and(|segment| segment.number == number);
            let trusted = self.blocks.and_then(|index| cuts[index].segments.get(at[index]));
            let known = std::iter::once(trusted).chain(heads()).filter(here).flatten();
            blocks.push(self.maker.next(number, known));
            for ((cut, at), ends) in cuts.iter().zip(&mut at).zip(&mut ends) {
                if cut.segments.get(*at).is_some_and(|segment| segment.number == number) {
                    *at += 1;
                }
                ends.push(at.checked_sub(1).map_or(0, |last| cut.segments[last].end));
            }
        }
    }

    fn table_rows(
        &self,
        stream: &TableStream,
        cut: Cut,
        ends: Vec<usize>,
        blocks: &[BlockRef],
        schema: &SchemaRef,
    ) -> Result<TableRows, ArrowError> {
        let rows = ends.last().copied().unwrap_or(0);
        let mut columns = Vec::with_capacity(cut.columns.len());
        for (index, column) in stream.wanted().iter().zip(cut.columns) {
            let made = || self.made_column(stream.table().origins[*index], &ends, blocks);
            columns.push(column.map_or_else(made, Ok)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(TableRows { batch: RecordBatch::try_new_with_options(schema.clone(), columns, &options)?, ends })
    }

    /// A column that the files do not have.
    fn made_column(&self, origin: Origin, ends: &[usize], blocks: &[BlockRef]) -> Result<ArrayRef, ArrowError> {
        let rows = ends.last().copied().unwrap_or(0);
        let starts = std::iter::once(&0).chain(ends);
        let counts = starts.zip(ends).map(|(start, end)| end - start);
        Ok(match origin {
            Origin::Chain => Arc::new(StringArray::new_repeated(&self.chain, rows)),
            Origin::ChainId => Arc::new(Int64Array::from_value(self.chain_id, rows)),
            Origin::BlockTime => {
                let times = blocks.iter().zip(counts);
                let times = times.flat_map(|(block, count)| std::iter::repeat_n(block.timestamp_ms, count));
                Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            Origin::BlockHash => {
                let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows, 32);
                for (block, count) in blocks.iter().zip(counts) {
                    for _ in 0..count {
                        hashes.append_value(block.hash.0)?;
                    }
                }
                Arc::new(hashes.finish())
            }
            Origin::File => unreachable!("columns of the files were read from them"),
        })
    }
}

fn internal(error: &ArrowError) -> SourceError {
    SourceError::Malformed { place: "the tables of a run".to_owned(), detail: error.to_string() }
}

fn has(table: &Table, column: &str) -> bool {
    let index = table.schema.index_of(column);
    index.is_ok_and(|index| table.origins[index] == Origin::File)
}

fn find<'a>(tables: &'a [Arc<Table>], name: &str) -> Result<&'a Arc<Table>, SourceError> {
    let table = tables.iter().find(|table| table.name == name).ok_or_else(|| SourceError::Malformed {
        place: "a Parquet source".to_owned(),
        detail: format!("there is no table {name}"),
    })?;
    if !has(table, "block_number") {
        let place = table.files.first().map(|path| path.display().to_string()).unwrap_or_default();
        let detail = format!("table {name} has no column block_number (option rename can name one so)");
        return Err(SourceError::Malformed { place, detail });
    }
    Ok(table)
}

/// The network in the name of a cryo file.
fn network(table: &Table) -> Option<String> {
    let path = table.files.first()?;
    layout::range_of_file(path)?;
    let (network, _) = path.file_name()?.to_str()?.split_once("__")?;
    Some(network.to_owned())
}

impl SourceReader for ParquetReader {
    fn next(&mut self) -> Result<SourceEvent, SourceError> {
        while let Some(run) = self.read_run()? {
            if let Some(last) = run.blocks.last() {
                let number = last.number;
                return Ok(SourceEvent::Blocks { run, cursor: number, finalized: Some(number) });
            }
        }
        Ok(SourceEvent::End)
    }
}
