//! The options of `simulator`.

use std::time::Duration;

use highwater_engine::options::{OptionDoc, OptionError, Options};

const fn doc(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    doc: &'static str,
    example: &'static str,
) -> OptionDoc {
    OptionDoc { name, kind, default, doc, example }
}

pub(super) const DOCS: &[OptionDoc] = &[
    doc("seed", "integer", "1", "The chain: the same seed and options give the same bytes.", "7"),
    doc("blocks", "integer (blocks)", "1000", "How long the chain gets; 0 for without end.", "10_000"),
    doc("transactions_per_block", "integer", "100", "How many transactions a block has on average.", "200"),
    doc("failure_rate", "number from 0 to 1", "0.05", "Which part of the transactions fails.", "0.1"),
    doc("reorg_rate", "number from 0 to 1", "0.01", "How likely a new head comes by a reorg.", "0.05"),
    doc("reorg_depth", "integer (blocks)", "3", "How many blocks a reorg takes back at most.", "7"),
    doc("block_time", "duration", "12 seconds", "Chain time between two blocks, whole seconds.", "2 seconds"),
    doc("confirmations", "integer (blocks)", "64", "How many blocks must follow a block before it is final.", "12"),
    doc("speed", "number (blocks per second)", "as fast as possible", "How fast blocks come in real time.", "2"),
    doc("sandwich_rate", "number (per block)", "0.2", "How likely a block has a sandwich attack.", "0.5"),
    doc("arbitrage_rate", "number (per block)", "0.2", "How likely a block has an arbitrage.", "0.5"),
    doc("chain", "text", "simulated", "What the column chain says.", "simulated"),
    doc("chain_id", "integer", "1337", "What the column chain_id says.", "1337"),
];

/// All options, read.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) seed: u64,
    /// `None` for without end.
    pub(super) blocks: Option<u64>,
    pub(super) transactions_per_block: u64,
    pub(super) failure_rate: f64,
    pub(super) reorg_rate: f64,
    pub(super) reorg_depth: u64,
    pub(super) block_seconds: u64,
    pub(super) confirmations: u64,
    /// Real time a block takes.
    pub(super) pace: Option<Duration>,
    pub(super) sandwich_rate: f64,
    pub(super) arbitrage_rate: f64,
    pub(super) chain: String,
    pub(super) chain_id: u64,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Settings, OptionError> {
        let seed = options.take_u64("seed")?.unwrap_or(1);
        let blocks = options.take_u64("blocks")?.unwrap_or(1_000);
        let transactions_per_block = options.take_u64("transactions_per_block")?.unwrap_or(100);
        let failure_rate = take_rate(&mut options, "failure_rate", 0.05)?;
        let reorg_rate = take_rate(&mut options, "reorg_rate", 0.01)?;
        let reorg_depth = options.take_u64("reorg_depth")?.unwrap_or(3);
        let block_time = options.take_duration("block_time")?.unwrap_or(Duration::from_secs(12));
        let confirmations = options.take_u64("confirmations")?.unwrap_or(64);
        let pace = options.take_with("speed", "a number of blocks per second above 0", |text| {
            let speed: f64 = text.parse().ok()?;
            Duration::try_from_secs_f64(1.0 / speed).ok()
        })?;
        let sandwich_rate = take_rate(&mut options, "sandwich_rate", 0.2)?;
        let arbitrage_rate = take_rate(&mut options, "arbitrage_rate", 0.2)?;
        let chain = options.take_str("chain").unwrap_or_else(|| "simulated".to_owned());
        let chain_id = options.take_u64("chain_id")?.unwrap_or(1_337);
        if confirmations < reorg_depth {
            let expected = "at most the option confirmations: a reorg must not reach below finality";
            return Err(options.invalid("reorg_depth", reorg_depth.to_string(), expected));
        }
        if block_time.subsec_nanos() != 0 || block_time.is_zero() {
            let given = format!("{} ms", block_time.as_millis());
            return Err(options.invalid("block_time", given, "a whole number of seconds above 0"));
        }
        options.finish()?;
        Ok(Settings {
            seed,
            blocks: (blocks > 0).then_some(blocks),
            transactions_per_block,
            failure_rate,
            reorg_rate,
            reorg_depth,
            block_seconds: block_time.as_secs(),
            confirmations,
            pace,
            sandwich_rate,
            arbitrage_rate,
            chain,
            chain_id,
        })
    }
}

fn take_rate(options: &mut Options, name: &'static str, default: f64) -> Result<f64, OptionError> {
    let rate = options.take_with(name, "a number from 0 to 1", |text| {
        text.parse().ok().filter(|rate: &f64| (0.0..=1.0).contains(rate))
    })?;
    Ok(rate.unwrap_or(default))
}
