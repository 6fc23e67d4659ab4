//! `parquet`: a view as Parquet files that DuckDB, Polars and pyarrow read exactly.
//!
//! * `snapshot` (default): the whole view, replaced atomically at each snapshot (`snapshot.rs`).
//! * `changelog`: every change with its tick and sign (`changelog.rs`).
//!
//! Columns: a `UINT256` column `x` becomes `x` (32 bytes, big-endian, sorts as a number) and `x_d128`
//! (`Decimal128(38, 0)`, NULL where it does not fit), by option also `x_f64` and `x_string`. An
//! `INT256` becomes two's complement bytes without statistics, since those bytes do not sort as
//! numbers. `Decimal256` is never written.
//!
//! Files: everything is written under a `.tmp` name, synced and renamed; `_manifest.json` is renamed
//! into place last and lists the files that count. A reader that goes by the manifest always sees one
//! whole state; a reader that takes `*.parquet` never sees half a file, and sees exactly one state
//! once the sink has finished. A run that does not continue a former one replaces its files.

use std::path::PathBuf;

use highwater_engine::options::{OptionDoc, OptionError, Options};
use highwater_engine::sink::{Closing, Sink, SinkConnector, SinkError, SinkRequest};

use crate::common::{encode_error, resolve, unsupported};
use arrow::datatypes::{DataType, TimeUnit};

mod buffer;
mod cadence;
mod changelog;
mod columns;
mod manifest;
mod partition;
mod snapshot;
mod store;
mod wide_columns;
mod writer;

use cadence::Cadence;
use changelog::Changelog;
use columns::{Binary, Mapping, Uint256};
use partition::Partition;
use snapshot::Snapshot;
use store::Store;
use writer::{Compress, PartWriter};

/// The `parquet` connector.
#[derive(Clone, Copy, Debug)]
pub struct Parquet;

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        kind: "path",
        default: "required",
        doc: "The folder; relative paths start from the job's folder, or from --out.",
        example: "out/failure_rate",
    },
    OptionDoc {
        name: "mode",
        kind: "'snapshot' or 'changelog'",
        default: "snapshot",
        doc: "The view as it is, or all its changes with _tick, _diff, _op, _block and finality.",
        example: "changelog",
    },
    OptionDoc {
        name: "every",
        kind: "duration (block time), 'N ticks' or 'end'",
        default: "end",
        doc: "How often files are brought up to date, besides at each checkpoint and at the end.",
        example: "5 minutes",
    },
    OptionDoc {
        name: "partition_by",
        kind: "column, or date(column)",
        default: "none",
        doc: "Puts rows into folders such as block_date=2023-11-14.",
        example: "date(window_start)",
    },
    OptionDoc {
        name: "compression",
        kind: "'zstd', 'snappy' or 'none'",
        default: "zstd (level 1)",
        doc: "How pages are compressed.",
        example: "snappy",
    },
    OptionDoc {
        name: "uint256",
        kind: "words of binary, d128, f64, string",
        default: "binary,d128",
        doc: "Which columns a 256-bit column x becomes: x, x_d128, x_f64, x_string.",
        example: "binary,d128,string",
    },
    OptionDoc {
        name: "binary",
        kind: "'bytes' or 'hex'",
        default: "bytes",
        doc: "Addresses, hashes and other bytes as bytes, or as text 0x….",
        example: "hex",
    },
    OptionDoc {
        name: "row_group_rows",
        kind: "integer (rows)",
        default: "1000000",
        doc: "The most rows in a row group.",
        example: "100000",
    },
    OptionDoc {
        name: "file_rows",
        kind: "integer (rows)",
        default: "500000",
        doc: "The most rows in a file; so many rows may wait in memory. A change log never splits a tick.",
        example: "1000000",
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Snapshot,
    Changelog,
}

struct Settings {
    root: PathBuf,
    mode: Mode,
    cadence: Cadence,
    partition: Option<Partition>,
    file_rows: usize,
    writer: PartWriter,
}

fn settings(request: &SinkRequest, mut options: Options) -> Result<Settings, SinkError> {
    let path = options.require_str("path")?;
    let root = resolve(request, &options, &path);
    let mode = options
        .take_choice("mode", &[("snapshot", Mode::Snapshot), ("changelog", Mode::Changelog)])?
        .unwrap_or(Mode::Snapshot);
    let cadence = options
        .take_with("every", "a duration such as '5 minutes', a count such as '100 ticks', or 'end'", Cadence::read)?
        .unwrap_or(Cadence::End);
    let partition = take_partition(request, &mut options)?;
    let choices = [("zstd", Compress::Zstd), ("snappy", Compress::Snappy), ("none", Compress::None)];
    let compress = options.take_choice("compression", &choices)?.unwrap_or(Compress::Zstd);
    let uint256 =
        options.take_with("uint256", "a list of binary, d128, f64, string", Uint256::read)?.unwrap_or_default();
    let binary =
        options.take_choice("binary", &[("bytes", Binary::Bytes), ("hex", Binary::Hex)])?.unwrap_or(Binary::Bytes);
    let row_group_rows = take_count(&mut options, "row_group_rows", 1_000_000)?;
    let file_rows = take_count(&mut options, "file_rows", 500_000)?;
    options.finish()?;

    check_closing(request)?;
    let stored = match mode {
        Mode::Snapshot => request.schema.clone(),
        Mode::Changelog => changelog::schema(&request.schema),
    };
    let mapping = Mapping::new(&stored, uint256, binary).map_err(|detail| unsupported(request, detail))?;
    let writer = PartWriter::new(request.view.clone(), mapping, compress, row_group_rows)
        .map_err(|error| encode_error(&request.view, error.into()))?;
    Ok(Settings { root, mode, cadence, partition, file_rows, writer })
}

fn take_partition(request: &SinkRequest, options: &mut Options) -> Result<Option<Partition>, OptionError> {
    let Some(text) = options.take_str("partition_by") else { return Ok(None) };
    match Partition::read(&request.schema, &text) {
        Ok(partition) => Ok(Some(partition)),
        Err(expected) => Err(options.invalid("partition_by", text, &expected)),
    }
}

fn take_count(options: &mut Options, name: &'static str, default: usize) -> Result<usize, OptionError> {
    match options.take_u64(name)? {
        None => Ok(default),
        Some(0) => Err(options.invalid(name, "0", "a number of rows above zero")),
        Some(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
    }
}

/// The closing column decides where rows go: it must be what the contract says.
fn check_closing(request: &SinkRequest) -> Result<(), SinkError> {
    let (index, fits): (usize, fn(&DataType) -> bool) = match request.closing {
        None => return Ok(()),
        Some(Closing::Time(index)) => (index, |kind| matches!(kind, DataType::Timestamp(TimeUnit::Millisecond, _))),
        Some(Closing::Block(index)) => (index, |kind| kind == &DataType::Int64),
    };
    let field = request.schema.field(index);
    if fits(field.data_type()) {
        return Ok(());
    }
    let detail = format!("its column \"{}\" cannot tell when a row is final: {}", field.name(), field.data_type());
    Err(unsupported(request, detail))
}

impl SinkConnector for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn about(&self) -> &'static str {
        "A folder of Parquet files: the view as it is, or its change log."
    }

    fn options(&self) -> &'static [OptionDoc] {
        OPTIONS
    }

    fn check(&self, request: &SinkRequest, options: Options) -> Result<(), SinkError> {
        settings(request, options).map(|_| ())
    }

    fn open(&self, request: SinkRequest, options: Options) -> Result<Box<dyn Sink>, SinkError> {
        let settings = settings(&request, options)?;
        let store = Store::open(settings.root, &request, settings.writer)?;
        let (cadence, partition, file_rows) = (settings.cadence, settings.partition, settings.file_rows);
        Ok(match settings.mode {
            Mode::Snapshot => Box::new(Snapshot::new(&request, store, cadence, partition, file_rows)?),
            Mode::Changelog => Box::new(Changelog::new(request, store, cadence, partition, file_rows)),
        })
    }
}
