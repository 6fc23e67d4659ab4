//! From texts to the tables of a run.

use highwater_engine::model::chain_profile::ChainProfile;
use highwater_engine::model::{BlockRun, evm};
use highwater_engine::source::{ReadRequest, SourceError};

use super::fetch::{Fetched, Parts};
use super::options::{Settings, TraceApi};
use super::samples::{self, SampleLog, SampleTable};
use crate::evm::ingest::{EvmIngest, IngestSettings, SkippedLogs};
use crate::evm::tables::RECEIPT_COLUMNS;
use crate::evm::verify::Level;

/// Takes blocks in, and puts the samples on them.
pub(super) struct Intake {
    ingest: EvmIngest,
    /// Where the table of samples stands among the wanted tables.
    samples: Option<(usize, SampleTable)>,
}

impl Intake {
    /// An intake for the wanted tables.
    ///
    /// # Errors
    /// A table or column that the source does not have.
    pub(super) fn new(
        request: &ReadRequest,
        settings: &Settings,
        profile: &ChainProfile,
    ) -> Result<Intake, SourceError> {
        let chain_id = profile.chain_id;
        let chain = match settings.chain.as_deref() {
            Some(name) => ChainProfile::named(name).map_or_else(|| name.to_owned(), |profile| profile.name.to_owned()),
            None => ChainProfile::name_of(chain_id),
        };
        let samples = request.tables.iter().position(|table| table.name == samples::TABLE).map(|index| {
            let columns = request.tables[index].columns.clone();
            (index, SampleTable::new(columns, chain.clone(), chain_id))
        });
        let mut chain_tables = ReadRequest { tables: request.tables.clone(), ..ReadRequest::default() };
        chain_tables.tables.retain(|table| table.name != samples::TABLE);
        let ingest = EvmIngest::new(&chain_tables, ingest_settings(settings, profile, chain))?;
        Ok(Intake { ingest, samples })
    }

    /// What has to be fetched with each block.
    ///
    /// # Errors
    /// The job reads traces, and nothing says how they are asked for.
    pub(super) fn parts(&self, request: &ReadRequest, settings: &Settings) -> Result<Parts, SourceError> {
        let needs = self.ingest.needs();
        if needs.traces && settings.traces == TraceApi::Off {
            return Err(SourceError::Malformed {
                place: "the table traces".to_owned(),
                detail: "the option traces must be 'parity' or 'geth', whichever the node offers".to_owned(),
            });
        }
        let transactions = evm::schema("transactions").expect("every EVM source has transactions");
        let whole_receipts = request.tables.iter().filter(|table| table.name == "transactions").any(|table| {
            let mut names = table.columns.iter().filter_map(|column| transactions.fields().get(*column));
            names.any(|field| RECEIPT_COLUMNS.contains(&field.name().as_str()))
        });
        // Against the receipts root only whole receipts can be checked.
        let records = settings.record.is_some();
        let whole_receipts = whole_receipts || records || settings.verify == Some(Level::Roots);
        let traces = if needs.traces { settings.traces } else { TraceApi::Off };
        Ok(Parts { receipts: needs.receipts || records, whole_receipts, traces })
    }

    /// Takes in one block.
    ///
    /// # Errors
    /// It breaks a rule, or is no block at all. It is then left out.
    pub(super) fn push(&mut self, place: &str, fetched: &Fetched) -> Result<(), SourceError> {
        let receipts = fetched.receipts.as_ref().map(|text| text.get());
        let traces = fetched.traces.as_ref().map(|text| text.get());
        let pools = fetched.pools.as_ref().map(|text| text.get());
        self.ingest.push_told(&place, [Some(fetched.block.get()), receipts, traces, pools]).map(drop)
    }

    /// Everything taken in since the last call, as one run, with the samples that wait.
    pub(super) fn finish(&mut self, log: &SampleLog) -> Result<BlockRun, SourceError> {
        let mut run = self.ingest.finish()?;
        if let Some((index, table)) = &mut self.samples {
            let rows = table.attach(&run.blocks, log).map_err(|source| SourceError::Read {
                action: "building",
                place: format!("the table {}", samples::TABLE),
                source: source.into(),
            })?;
            run.tables.insert(*index, rows);
        }
        Ok(run)
    }

    /// Forgets what was taken in since the last call of [`Intake::finish`].
    pub(super) fn discard(&mut self) -> Result<(), SourceError> {
        self.ingest.finish().map(drop)
    }

    /// Blocks up to this height cannot be taken back any more.
    pub(super) fn finalize(&mut self, number: u64) {
        if let Some((_, table)) = &mut self.samples {
            table.finalize(number);
        }
    }

    /// The logs skipped since the last call.
    pub(super) fn take_skipped(&mut self) -> Option<SkippedLogs> {
        self.ingest.take_skipped()
    }
}

/// How far the ingest checks what it takes in.
fn ingest_settings(settings: &Settings, profile: &ChainProfile, chain: String) -> IngestSettings {
    let (validate, verify) = match settings.verify {
        // A bloom filter that leaves logs out on purpose proves nothing; the other rules hold.
        None if profile.quirks.logs_outside_bloom => (true, Level::Off),
        None | Some(Level::Bloom) => (true, Level::Bloom),
        Some(Level::Off) => (false, Level::Off),
        Some(Level::Roots) => (true, Level::Roots),
    };
    let factories = settings.factories.clone();
    IngestSettings { chain, chain_id: profile.chain_id, validate, verify, factories }
}
