//! JSON-RPC text of blocks with receipts: into Arrow tables, and into alloy's types.

use std::path::PathBuf;

use clap::Args;

/// Which recording.
#[derive(Debug, Args)]
pub(crate) struct IngestArguments {
    /// Folder with `blocks.jsonl.gz` and `receipts.jsonl.gz`
    #[arg(long)]
    data: PathBuf,
    /// Times each is measured; the least counts
    #[arg(long, default_value_t = 15)]
    runs: usize,
}

#[cfg(not(feature = "alloy"))]
pub(crate) fn run(_: &IngestArguments) -> anyhow::Result<()> {
    anyhow::bail!("this comparison needs --features alloy")
}

#[cfg(feature = "alloy")]
pub(crate) fn run(arguments: &IngestArguments) -> anyhow::Result<()> {
    with_alloy::run(arguments)
}

#[cfg(feature = "alloy")]
mod with_alloy {
    use std::fs::File;
    use std::hint::black_box;
    use std::io::{BufRead as _, BufReader};
    use std::path::Path;
    use std::time::Duration;

    use alloy_rpc_types_eth::{Block, TransactionReceipt};
    use anyhow::Context as _;
    use flate2::read::GzDecoder;
    use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
    use highwater_engine::clock::thread_cpu;
    use highwater_engine::model::evm;
    use highwater_engine::source::{ReadRequest, TableRequest};
    use serde_json::json;

    use super::IngestArguments;
    use crate::meter::thousandths;
    use crate::report;

    pub(super) fn run(arguments: &IngestArguments) -> anyhow::Result<()> {
        let blocks = lines(&arguments.data.join("blocks.jsonl.gz"))?;
        let receipts = lines(&arguments.data.join("receipts.jsonl.gz"))?;
        let texts: Vec<(&str, &str)> =
            blocks.iter().map(String::as_str).zip(receipts.iter().map(String::as_str)).collect();
        let transactions = to_alloy(&texts)?;
        let bytes: usize = texts.iter().map(|(block, receipts)| block.len() + receipts.len()).sum();
        let mut least = [Duration::MAX; 3];
        // In turn, so that a machine that changes its speed changes it for all.
        for _ in 0..arguments.runs.max(1) {
            let times = [
                measure(|| to_arrow(&texts, true))?,
                measure(|| to_arrow(&texts, false))?,
                measure(|| to_alloy(&texts))?,
            ];
            for (least, time) in least.iter_mut().zip(times) {
                *least = time.min(*least);
            }
        }
        let [validated, plain, alloy] = least.map(|time| time.as_secs_f64() * 1e6);
        report(&json!({
            "query": "ingest",
            "blocks": texts.len(),
            "transactions": transactions,
            "bytes": bytes,
            "arrow_validated_us": validated.round(),
            "arrow_us": plain.round(),
            "alloy_us": alloy.round(),
            "ratio_validated": thousandths(validated / alloy),
            "ratio": thousandths(plain / alloy),
        }))
    }

    fn measure(work: impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<Duration> {
        let before = thread_cpu();
        black_box(work()?);
        Ok(thread_cpu() - before)
    }

    /// All columns of blocks, transactions, logs and token transfers.
    fn to_arrow(texts: &[(&str, &str)], validate: bool) -> anyhow::Result<usize> {
        let tables = ["blocks", "transactions", "logs", "token_transfers"].iter().map(|name| {
            let schema = evm::schema(name).context("a table of EVM sources")?;
            Ok(TableRequest { name: (*name).to_owned(), columns: (0..schema.fields().len()).collect() })
        });
        let request = ReadRequest { tables: tables.collect::<anyhow::Result<_>>()?, ..ReadRequest::default() };
        let mut ingest = EvmIngest::new(&request, IngestSettings { validate, ..IngestSettings::default() })?;
        let mut rows = 0;
        for (block, receipts) in texts {
            ingest.push(&"the recording", block, Some(receipts), None)?;
            // Block by block, as the readers of recordings and of nodes deliver.
            rows += black_box(ingest.finish()?).row_count();
        }
        Ok(rows)
    }

    /// The number of transactions.
    fn to_alloy(texts: &[(&str, &str)]) -> anyhow::Result<usize> {
        let mut transactions = 0;
        for (block, receipts) in texts {
            let block: Block = serde_json::from_str(block)?;
            let receipts: Vec<TransactionReceipt> = serde_json::from_str(receipts)?;
            transactions += block.transactions.len();
            black_box((block, receipts));
        }
        Ok(transactions)
    }

    fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(BufReader::new(GzDecoder::new(file)).lines().collect::<Result<_, _>>()?)
    }
}
