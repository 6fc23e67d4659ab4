//! Getting one block with all that belongs to it, from whichever endpoint has it.
//!
//! Block and receipts of one fetch come from one endpoint: what does not fit together has one culprit.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join, try_join_all};
use highwater_engine::model::BlockHash;
use highwater_engine::source::SourceError;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use super::call::{CallError, ErrorKind};
use super::header::{Header, transaction_hashes};
use super::options::TraceApi;
use super::params;
use super::pool::{Pool, Wish};
use super::receipts;

/// First pause after a round of failures.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a block that an endpoint announced may be answered with nothing, for each endpoint.
const NOTHING: usize = 6;
/// How often an answer may contradict its question, for each endpoint.
const WRONG: usize = 4;
/// How often a node that works may answer with an error, for each endpoint.
const REFUSED: usize = 12;
/// How often the first request of all may fail, for each endpoint.
const UNREACHABLE: usize = 8;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The block with this hash: near the head, where heights change their block.
    Hash(BlockHash),
    /// The block of this height: history.
    Number(u64),
}

/// What has to be fetched with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Receipts, or logs at least.
    pub(super) receipts: bool,
    /// Columns are wanted that only receipts have, so logs alone will not do.
    pub(super) whole_receipts: bool,
    pub(super) traces: TraceApi,
}

/// One block as texts.
pub(super) struct Fetched {
    /// Who gave it.
    pub(super) endpoint: usize,
    pub(super) header: Header,
    pub(super) block: Box<RawValue>,
    pub(super) receipts: Option<Box<RawValue>>,
    pub(super) traces: Option<Box<RawValue>>,
    /// What an endpoint answered about its pools, once they were asked.
    pub(super) pools: Option<Box<RawValue>>,
}

/// Fetches blocks.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) pool: Rc<Pool>,
    pub(super) parts: Parts,
}

/// What one fetch has been through.
#[derive(Default)]
struct Trouble {
    nothing: usize,
    wrong: usize,
    refused: usize,
    pause: Duration,
}

impl Fetcher {
    /// The block, or `None` if no endpoint has it after a fair number of questions.
    ///
    /// Endpoints that fail are asked again for as long as it takes.
    ///
    /// # Errors
    /// Every endpoint keeps contradicting the question or refusing it, or serves another chain.
    pub(super) async fn fetch(&self, want: Want, mut wish: Wish) -> Result<Option<Fetched>, SourceError> {
        let mut trouble = Trouble::default();
        let mut before: Option<(usize, CallError)> = None;
        loop {
            let at = self.pool.choose(&wish).await?;
            if let Some((before, why)) = before.take().filter(|(before, _)| *before != at) {
                self.pool.rotated(before, &why);
            }
            let error = match self.fetch_from(at, want).await {
                Ok(fetched) => return Ok(Some(fetched)),
                Err(error) => error,
            };
            match error.kind {
                ErrorKind::NullResult => trouble.nothing += 1,
                ErrorKind::Inconsistent => {
                    trouble.wrong += 1;
                    self.pool.distrust(at, error.method, "wrong-answer", &error.detail);
                }
                ErrorKind::JsonRpc => trouble.refused += 1,
                _ => {}
            }
            if trouble.nothing >= NOTHING * self.pool.len() {
                return Ok(None);
            }
            if trouble.wrong >= WRONG * self.pool.len() || trouble.refused >= REFUSED * self.pool.len() {
                return Err(SourceError::Read {
                    action: "reading",
                    place: format!("{want} from {}", error.place),
                    source: error.into(),
                });
            }
            if !wish.avoid.contains(&at) {
                wish.avoid.push(at);
            }
            if wish.avoid.len() == self.pool.len() {
                wish.avoid.clear();
                trouble.rest().await;
            }
            before = Some((at, error));
        }
    }

    async fn fetch_from(&self, at: usize, want: Want) -> Result<Fetched, CallError> {
        let (method, which) = match want {
            Want::Hash(hash) => ("eth_getBlockByHash", format!("\"{hash}\"")),
            Want::Number(number) => ("eth_getBlockByNumber", format!("\"{number:#x}\"")),
        };
        let text = params(&format!("[{which},true]"));
        let block = self.pool.ask(at, method, &text);
        let at_once = self.parts.receipts && self.pool.has_block_receipts(at);
        let (block, receipts) = if at_once {
            let text = params(&format!("[{which}]"));
            let receipts = self.pool.ask(at, receipts::METHOD, &text);
            let (block, receipts) = join(block, receipts).await;
            (block?, Some(receipts))
        } else {
            (block.await?, None)
        };
        let header = self.check(at, method, want, block.get())?;
        let receipts = match receipts {
            Some(Ok(receipts)) => Some(receipts),
            Some(Err(error)) if error.is_unknown_method() => {
                self.pool.lacks_block_receipts(at);
                tracing::debug!(endpoint = self.pool.label(at), "receipts are asked for one by one from now on");
                Some(self.receipts_one_by_one(at, &header, block.get()).await?)
            }
            Some(Err(error)) => return Err(error),
            None if self.parts.receipts => Some(self.receipts_one_by_one(at, &header, block.get()).await?),
            None => None,
        };
        let traces = self.traces(at, &header).await?;
        Ok(Fetched { endpoint: at, header, block, receipts, traces, pools: None })
    }

    /// That the block is the one that was asked for.
    fn check(&self, at: usize, method: &'static str, want: Want, block: &str) -> Result<Header, CallError> {
        let label = self.pool.label(at);
        let header =
            Header::read(block).map_err(|detail| CallError::new(ErrorKind::Malformed, label, method, detail))?;
        let fits = match want {
            Want::Hash(hash) => header.hash == hash,
            Want::Number(number) => header.number == number,
        };
        if fits {
            return Ok(header);
        }
        let detail = format!("asked for {want}, it gave block {} ({})", header.number, header.hash);
        Err(CallError::new(ErrorKind::Inconsistent, label, method, detail))
    }

    /// For endpoints that do not give all receipts at once: logs by block hash if they are all that is
    /// wanted, else one request a transaction.
    async fn receipts_one_by_one(&self, at: usize, header: &Header, block: &str) -> Result<Box<RawValue>, CallError> {
        let malformed =
            |detail| CallError::new(ErrorKind::Malformed, self.pool.label(at), "eth_getBlockByHash", detail);
        if !self.parts.whole_receipts {
            let which = params(&format!("[{{\"blockHash\":\"{}\"}}]", header.hash));
            let logs = self.pool.ask(at, "eth_getLogs", &which).await?;
            return receipts::from_logs(block, logs.get()).map_err(malformed);
        }
        let hashes = transaction_hashes(block).map_err(malformed)?;
        let ask = async |hash: [u8; 32]| {
            let which = params(&format!("[\"{}\"]", BlockHash(hash)));
            self.pool.ask(at, "eth_getTransactionReceipt", &which).await
        };
        let receipts = try_join_all(hashes.into_iter().map(ask)).await?;
        Ok(receipts::list(&receipts))
    }

    async fn traces(&self, at: usize, header: &Header) -> Result<Option<Box<RawValue>>, CallError> {
        let (method, which) = match self.parts.traces {
            TraceApi::Off => return Ok(None),
            TraceApi::Parity => ("trace_block", format!("[\"{:#x}\"]", header.number)),
            TraceApi::Geth => {
                ("debug_traceBlockByHash", format!("[\"{}\",{{\"tracer\":\"callTracer\"}}]", header.hash))
            }
        };
        let traces = self.pool.ask(at, method, &params(&which)).await?;
        if self.parts.traces == TraceApi::Parity && !receipts::are_traces_of(traces.get(), header) {
            // Traces are asked for by height; a reorg in between gives those of another block.
            let detail = format!("the traces are not of block {}", header.hash);
            return Err(CallError::new(ErrorKind::NullResult, self.pool.label(at), method, detail));
        }
        Ok(Some(traces))
    }

    /// The newest block of some endpoint, and which.
    ///
    /// # Errors
    /// No endpoint could be reached, or every endpoint serves another chain.
    pub(super) async fn first_head(&self) -> Result<(usize, Header), SourceError> {
        let mut trouble = Trouble::default();
        let mut wish = Wish::default();
        for attempt in 1.. {
            let at = self.pool.choose(&wish).await?;
            let error = match self.pool.latest(at).await {
                Ok(header) => return Ok((at, header)),
                Err(error) => error,
            };
            if attempt >= UNREACHABLE * self.pool.len() {
                return Err(SourceError::Read {
                    action: "reaching",
                    place: "the endpoints of option url".to_owned(),
                    source: error.into(),
                });
            }
            wish.avoid = vec![at];
            trouble.rest().await;
        }
        unreachable!("the loop ends by returning")
    }
}

impl Trouble {
    /// Waits, each time longer.
    async fn rest(&mut self) {
        self.pause = if self.pause.is_zero() { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(self.pause).await;
    }
}

impl std::fmt::Display for Want {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Want::Hash(hash) => write!(f, "block {hash}"),
            Want::Number(number) => write!(f, "block {number}"),
        }
    }
}

/// A fetch that goes on by itself, and ends when nobody wants it any more.
pub(super) struct Ahead(JoinHandle<Result<Option<Fetched>, SourceError>>);

impl Ahead {
    /// Starts a fetch.
    pub(super) fn start(fetcher: Fetcher, want: Want, wish: Wish) -> Ahead {
        Ahead(tokio::task::spawn_local(async move { fetcher.fetch(want, wish).await }))
    }

    /// Waits for its outcome.
    pub(super) async fn finish(mut self) -> Result<Option<Fetched>, SourceError> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only this file ends tasks, and then nobody waits for them.
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}
