//! All logs of a block, transaction by transaction.

use highwater_engine::model::BlockHash;

use super::called::{CalledPool, tell};
use super::fills::name_fills;
use super::identity::{Identities, name_swaps};
use super::inferred::{Sent, infer_swaps};
use super::lending::{name_liquidations, name_loans};
use super::position_manager::name_positions;
use super::route::name_routes;
use super::rows::{At, Decoded, Lengths};
use super::{Address, Decoder, Feeds, RawLog, decoder};
use crate::evm::json::{Log, Receipt};

/// Logs that announced an event and were none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLogs {
    /// How many.
    pub count: u64,
    /// The first of them and why.
    pub reason: String,
}

/// Reads the logs that wanted tables are made of, each log once.
#[derive(Debug, Default)]
pub struct LogReader {
    wanted: Feeds,
    decoded: Decoded,
    data: Vec<u8>,
    skipped: Option<SkippedLogs>,
}

impl LogReader {
    /// A reader for `wanted` tables that trusts `factories` besides those it knows.
    pub fn new(wanted: Feeds, factories: Vec<Address>) -> LogReader {
        let decoded = Decoded { identities: Identities::new(factories), ..Decoded::default() };
        LogReader { wanted: wanted.with_sources(), decoded, ..LogReader::default() }
    }

    /// What the logs of a block and the answers of a node about its pools say together.
    pub(crate) fn read_with<'b, 'a: 'b>(
        &mut self,
        receipts: impl IntoIterator<Item = &'b Receipt<'a>>,
        answers: &[CalledPool],
    ) -> &Decoded {
        let wanted = self.wanted;
        if !answers.is_empty() && wanted.meets(Feeds::POOLS) {
            // An answer stands where the first swap is that it is about.
            self.wanted = wanted.and(Feeds::SWAPS);
        }
        self.read(receipts);
        self.wanted = wanted;
        tell(&mut self.decoded, answers);
        &self.decoded
    }

    /// What the logs of a block say. The receipts are those of the block in the order of their transactions.
    pub fn read<'b, 'a: 'b>(&mut self, receipts: impl IntoIterator<Item = &'b Receipt<'a>>) -> &Decoded {
        self.decoded.clear();
        if self.wanted == Feeds::NONE {
            return &self.decoded;
        }
        for (receipt, content) in receipts.into_iter().enumerate() {
            let start = self.decoded.lengths();
            self.decoded.sync = None;
            for (position, log) in content.logs.iter().enumerate() {
                self.read_log(At { receipt, log: position }, log);
            }
            self.complete(start);
            if self.wanted.meets(Feeds::INFERRED) {
                infer_swaps(&mut self.decoded, start, Sent::of(content));
            }
        }
        &self.decoded
    }

    /// What was said by the logs of the block read last.
    pub fn decoded(&self) -> &Decoded {
        &self.decoded
    }

    /// The logs skipped since the last call.
    pub fn take_skipped(&mut self) -> Option<SkippedLogs> {
        self.skipped.take()
    }

    /// Fills in what other logs of the transaction tell about the rows since `start`.
    fn complete(&mut self, start: Lengths) {
        let Decoded {
            transfers,
            swaps,
            pools,
            liquidity,
            liquidations,
            aggregator_trades,
            flash_loans,
            positions,
            identities,
            ..
        } = &mut self.decoded;
        name_fills(&mut aggregator_trades[start.aggregator_trades..], &transfers[start.transfers..]);
        let swaps = &mut swaps[start.swaps..];
        let (liquidations, loans) = (&mut liquidations[start.liquidations..], &mut flash_loans[start.flash_loans..]);
        if !swaps.is_empty() || !liquidations.is_empty() || !loans.is_empty() {
            identities.begin(&transfers[start.transfers..]);
            name_swaps(swaps, &pools[start.pools..], identities);
            name_routes(swaps, identities);
            name_loans(loans, identities);
            name_liquidations(liquidations, identities);
        }
        name_positions(&mut liquidity[start.liquidity..], &positions[start.positions..]);
    }

    /// Appends what a log says. Logs of other events say nothing.
    fn read_log(&mut self, at: At, log: &Log<'_>) {
        let topics = log.topics.as_slice();
        let Some(Ok(topic0)) = topics.first().map(|topic| topic.fixed::<32>()) else { return };
        let Some(decoder) = decoder(&topic0) else { return };
        if !decoder.feeds.and(decoder.helps).meets(self.wanted) {
            return;
        }
        if let Err(reason) = self.decode(decoder, at, topic0, log)
            && decoder.feeds.meets(self.wanted)
        {
            let first = || SkippedLogs { count: 0, reason: skip_reason(log, decoder, &reason) };
            self.skipped.get_or_insert_with(first).count += 1;
        }
    }

    fn decode(&mut self, decoder: &Decoder, at: At, topic0: [u8; 32], log: &Log<'_>) -> Result<(), String> {
        let topics = log.topics.as_slice();
        let mut words = [topic0; 4];
        for (word, topic) in words.iter_mut().zip(topics).skip(1) {
            *word = topic.fixed().map_err(|fault| format!("a topic {fault}"))?;
        }
        self.data.clear();
        log.data.append_to(&mut self.data).map_err(|fault| format!("the data {fault}"))?;
        let address = log.address.fixed().map_err(|fault| format!("the address {fault}"))?;
        let raw = RawLog { at, address, topics: &words[..topics.len()], data: &self.data };
        (decoder.decode)(raw, &mut self.decoded).map_err(|error| error.to_string())
    }
}

fn skip_reason(log: &Log<'_>, decoder: &Decoder, reason: &str) -> String {
    let index = log.log_index.u64().map_or_else(|_| "?".to_owned(), |index| index.to_string());
    let tx = log.transaction_hash.fixed().map_or_else(|_| "?".to_owned(), |hash| BlockHash(hash).to_string());
    format!("log {index} of transaction {tx} is not {}: {reason}", decoder.feeds.row())
}
