//! The options of `evm`.

use std::path::PathBuf;
use std::time::Duration;

use highwater_engine::model::chain_profile::ChainProfile;
use highwater_engine::options::{OptionDoc, OptionError, Options};

use super::endpoint::EndpointUrl;
use crate::evm::options::{FACTORIES, take_factories, take_verify};
use crate::evm::verify::Level;

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
    doc(
        "url",
        "URLs",
        "required",
        "Endpoints of the node, several separated by spaces or commas, each with an optional weight after a bar; those that begin with ws announce new blocks. Keys in them are never shown.",
        "https://node.example.org/key|3 http://127.0.0.1:8545",
    ),
    doc("ws_url", "URLs", "none", "More endpoints that announce new blocks.", "wss://node.example.org/key"),
    doc(
        "chain",
        "name",
        "by the chain id of the node",
        "What the column chain says; a known name also sets what is expected of the chain, and the node must serve it.",
        "ethereum",
    ),
    doc(
        "from_block",
        "integer, 'latest', 'earliest' or '-100'",
        "latest",
        "Where to begin; a negative number counts back from the newest block.",
        "17_000_000",
    ),
    doc("end_block", "integer", "none", "Where to end; without, new blocks are followed for ever.", "17_000_100"),
    doc(
        "finality",
        "'finalized' or 'confirmations'",
        "by the chain",
        "Who says when a block is final: the node's finalized tag, or the number of blocks after it.",
        "finalized",
    ),
    doc(
        "confirmations",
        "integer (blocks)",
        "by the chain",
        "How many blocks must follow a block before it is final, where the node's tag is not asked or not known.",
        "64",
    ),
    doc(
        "poll_interval",
        "duration",
        "half the chain's block time, 100 ms to 4 s",
        "How often the node is asked for a new block while nothing announces them.",
        "500 ms",
    ),
    doc("batch", "integer (blocks)", "50", "How many blocks a run of history holds at most.", "100"),
    doc("concurrency", "integer", "16", "How many requests one endpoint is sent at a time at most.", "32"),
    doc(
        "max_requests_per_second",
        "number",
        "what the endpoint bears",
        "How many requests one endpoint is sent in a second at most.",
        "25",
    ),
    doc("request_timeout", "duration", "10 seconds", "After how long an answer is given up.", "5 seconds"),
    doc(
        "traces",
        "'off', 'parity' or 'geth'",
        "off",
        "How traces are asked for, if the table traces is read: trace_block or debug_traceBlockByHash.",
        "geth",
    ),
    doc(
        "pool_identity",
        "'events' or 'call'",
        "events",
        "Who tells the coins of a pool: logs alone, or also the node, which is then asked by eth_call at the first swap of a pool whose coins no log tells: two to four small requests a pool, once. Answers are rows of the table pools, and are recorded.",
        "call",
    ),
    doc(
        "verify",
        "'off', 'bloom' or 'roots'",
        "bloom; without the filter on chains that leave logs out of it",
        "How far answers are checked: not at all, against each other and the bloom filter, or up to the roots in the header and its hash.",
        "roots",
    ),
    doc(
        "record",
        "path",
        "none",
        "A file *.ndjson[.gz] that every block is appended to as the node gave it, branches that lose included; the connector recording replays it. A run without state and with from_block counted from the newest block goes on where the file ends.",
        "recorded/blocks.ndjson.gz",
    ),
    FACTORIES,
];

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At this height.
    Number(u64),
    /// This many blocks before the newest.
    Back(u64),
}

/// Who says when a block is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinalityRule {
    /// The node, by its tag.
    Tag,
    /// The number of blocks after it.
    Confirmations,
}

/// How traces are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TraceApi {
    /// Not at all.
    Off,
    /// `trace_block`.
    Parity,
    /// `debug_traceBlockByHash` with the call tracer.
    Geth,
}

/// All options, read.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Endpoints that answer requests; at least one.
    pub(super) endpoints: Vec<EndpointUrl>,
    /// Endpoints that announce new blocks.
    pub(super) announcers: Vec<EndpointUrl>,
    pub(super) chain: Option<String>,
    pub(super) start: Start,
    pub(super) end_block: Option<u64>,
    pub(super) finality: Option<FinalityRule>,
    pub(super) confirmations: Option<u64>,
    pub(super) poll_interval: Option<Duration>,
    pub(super) batch: usize,
    pub(super) concurrency: usize,
    pub(super) max_requests_per_second: Option<f64>,
    pub(super) request_timeout: Duration,
    pub(super) traces: TraceApi,
    pub(super) verify: Option<Level>,
    /// Whether the node is asked for the coins of pools.
    pub(super) asks_pools: bool,
    /// Where every delivered block is written down.
    pub(super) record: Option<PathBuf>,
    pub(super) factories: Vec<[u8; 20]>,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Settings, OptionError> {
        let url = options.require_str("url")?;
        let mut all = take_endpoints(&options, "url", &url)?;
        if let Some(more) = options.take_str("ws_url") {
            all.extend(take_endpoints(&options, "ws_url", &more)?);
        }
        let (announcers, endpoints): (Vec<_>, Vec<_>) = all.into_iter().partition(EndpointUrl::is_websocket);
        if endpoints.is_empty() {
            let expected = "enough: blocks are asked for over HTTP, so one endpoint must begin with http";
            return Err(options.invalid("url", HIDDEN, expected));
        }
        let start = options.take_with("from_block", "a block number, 'latest', 'earliest' or '-100'", read_start)?;
        let settings = Settings {
            endpoints,
            announcers,
            chain: options.take_str("chain"),
            start: start.unwrap_or(Start::Back(0)),
            end_block: options.take_u64("end_block")?,
            finality: options.take_choice(
                "finality",
                &[("finalized", FinalityRule::Tag), ("confirmations", FinalityRule::Confirmations)],
            )?,
            confirmations: options.take_u64("confirmations")?,
            poll_interval: options.take_duration("poll_interval")?,
            batch: take_count(&mut options, "batch", 50)?,
            concurrency: take_count(&mut options, "concurrency", 16)?,
            max_requests_per_second: options.take_with("max_requests_per_second", "a number above 0", |text| {
                text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
            })?,
            request_timeout: options.take_duration("request_timeout")?.unwrap_or(Duration::from_secs(10)),
            traces: options
                .take_choice(
                    "traces",
                    &[("off", TraceApi::Off), ("parity", TraceApi::Parity), ("geth", TraceApi::Geth)],
                )?
                .unwrap_or(TraceApi::Off),
            verify: take_verify(&mut options)?,
            asks_pools: options.take_choice("pool_identity", &[("events", false), ("call", true)])?.unwrap_or(false),
            record: take_record(&mut options)?,
            factories: take_factories(&mut options)?,
        };
        options.finish()?;
        Ok(settings)
    }

    /// Pause between two questions for the newest block.
    pub(super) fn poll_interval(&self, profile: &ChainProfile) -> Duration {
        let usual = Duration::from_millis(profile.block_time_ms / 2);
        let usual = usual.clamp(Duration::from_millis(100), Duration::from_secs(4));
        self.poll_interval.unwrap_or(usual).max(Duration::from_millis(1))
    }

    /// Who says when a block is final on this chain.
    pub(super) fn finality(&self, profile: &ChainProfile) -> FinalityRule {
        match self.finality {
            Some(rule) => rule,
            None if self.confirmations.is_some() || !profile.finalized_tag => FinalityRule::Confirmations,
            None => FinalityRule::Tag,
        }
    }

    /// How many blocks must follow a final one on this chain.
    pub(super) fn confirmations(&self, profile: &ChainProfile) -> u64 {
        self.confirmations.unwrap_or(profile.confirmations)
    }
}

/// Stands for a value that may hold a key.
const HIDDEN: &str = "(not shown)";

fn take_endpoints(options: &Options, name: &str, text: &str) -> Result<Vec<EndpointUrl>, OptionError> {
    let parts = text.split(|c: char| c.is_whitespace() || c == ',').filter(|part| !part.is_empty());
    let found: Option<Vec<_>> = parts.map(EndpointUrl::parse).collect();
    let expected =
        "one or several URLs that begin with http, https, ws or wss, each with an optional weight such as |3";
    found.filter(|found| !found.is_empty()).ok_or_else(|| options.invalid(name, HIDDEN, expected))
}

fn take_record(options: &mut Options) -> Result<Option<PathBuf>, OptionError> {
    let Some(path) = options.take_path("record") else { return Ok(None) };
    let name = path.to_string_lossy();
    if name.ends_with(".ndjson") || name.ends_with(".ndjson.gz") {
        return Ok(Some(path));
    }
    Err(options.invalid("record", name, "a file that ends in .ndjson or .ndjson.gz, as the connector recording reads"))
}

fn take_count(options: &mut Options, name: &'static str, default: usize) -> Result<usize, OptionError> {
    let read = |text: &str| text.replace('_', "").parse().ok().filter(|count| (1..=10_000).contains(count));
    Ok(options.take_with(name, "a whole number from 1 to 10000", read)?.unwrap_or(default))
}

fn read_start(text: &str) -> Option<Start> {
    let digits = text.replace('_', "");
    match digits.as_str() {
        "latest" => Some(Start::Back(0)),
        "earliest" => Some(Start::Number(0)),
        back if back.starts_with('-') => back[1..].parse().ok().map(Start::Back),
        number => number.parse().ok().map(Start::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Settings, OptionError> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(Options::new("source \"eth\"", "/jobs", given))
    }

    #[test]
    fn endpoints_are_told_apart() {
        let settings = read(&[
            ("url", "https://a.example.org/key|3, http://b.example.org wss://c.example.org"),
            ("ws_url", "ws://127.0.0.1:8546"),
            ("from_block", "-1_00"),
        ])
        .unwrap();
        assert_eq!(settings.endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(settings.announcers.len(), 2);
        assert_eq!(settings.start, Start::Back(100));
    }

    #[test]
    fn errors_do_not_show_the_key() {
        for wrong in ["https//example.org/secretkey", "wss://example.org/secretkey", "https://example.org/secretkey|x"]
        {
            let error = read(&[("url", wrong)]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secretkey"), "{error}");
        }
    }

    #[test]
    fn finality_is_the_chains_unless_told() {
        let finality = |given: &[(&str, &str)], chain: &str| {
            let mut all = vec![("url", "http://127.0.0.1:8545")];
            all.extend(given);
            read(&all).unwrap().finality(ChainProfile::named(chain).unwrap())
        };
        assert_eq!(finality(&[], "ethereum"), FinalityRule::Tag);
        assert_eq!(finality(&[], "devnet"), FinalityRule::Confirmations);
        assert_eq!(finality(&[("confirmations", "3")], "ethereum"), FinalityRule::Confirmations);
        assert_eq!(finality(&[("confirmations", "3"), ("finality", "finalized")], "devnet"), FinalityRule::Tag);
    }
}
