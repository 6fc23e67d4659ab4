//! Which pools were asked for their coins, and which blocks carry the answers.
//!
//! An answer rides on the first delivered block with a swap that needs it. When that block is taken back, the
//! answer goes with it, and the next block that needs it carries it again, without another question. So each
//! branch has it once, and a recording, which keeps the answers on the lines of the blocks, replays as the run
//! was.
//!
//! Questions never hold a block up for longer than one request may take: what has not come by then is left
//! out and asked again at the pool's next swap, a few times. What a contract refuses is not asked again.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use highwater_engine::metrics::{Counter, Registry};
use highwater_engine::source::ReadRequest;
use serde_json::value::RawValue;

use super::fetch::Fetched;
use super::options::Settings;
use super::pool::Pool;
use super::pool_call::{Asker, Refusal};
use crate::evm::decode::Feeds;
use crate::evm::decode::called::Question;
use crate::evm::decode::transaction::LogReader;
use crate::evm::ingest::receipts_in_order;
use crate::evm::json::{Receipt, reader};

/// Questions that are remembered. Beyond, all are forgotten, and asked again where they matter.
const REMEMBERED: usize = 1 << 16;
/// Questions asked for one run of blocks at most; the others wait for the pool's next swap.
const AT_ONCE: usize = 256;
/// How often a question is asked that nobody answers.
const ROUNDS: u8 = 3;

/// What is known of a question.
enum Known {
    /// The answer, as JSON.
    Told(String),
    /// There is none.
    Never,
    /// Nobody answered, so many times.
    Failed(u8),
}

/// Asks for the coins of pools, once each.
pub(super) struct PoolBook {
    on: bool,
    logs: LogReader,
    factories: Vec<[u8; 20]>,
    patience: Duration,
    known: HashMap<Question, Known>,
    /// The heights of the blocks that carry the answers.
    carried: HashMap<Question, u64>,
    told: Counter,
    refused: Counter,
    failed: Counter,
}

impl PoolBook {
    pub(super) fn new(settings: &Settings, request: &ReadRequest) -> PoolBook {
        let wanted = settings.record.is_some() || request.tables.iter().any(|table| table.name == "pools");
        let counter = |outcome| counter(&request.metrics, outcome);
        PoolBook {
            on: settings.asks_pools && wanted,
            logs: LogReader::new(Feeds::SWAPS, settings.factories.clone()),
            factories: settings.factories.clone(),
            patience: settings.request_timeout,
            known: HashMap::new(),
            carried: HashMap::new(),
            told: counter("told"),
            refused: counter("refused"),
            failed: counter("failed"),
        }
    }

    /// Puts on a run of blocks what is to be known of their pools. The run takes back everything from its
    /// first height on.
    pub(super) async fn ask(&mut self, pool: &Pool, blocks: &mut [Fetched]) {
        let Some(first) = blocks.first().filter(|_| self.on) else { return };
        let from = first.header.number;
        self.carried.retain(|_, height| *height < from);
        let wanted: Vec<Vec<Question>> = blocks.iter().map(|block| self.questions(block)).collect();
        self.find_out(pool, blocks, &wanted).await;
        for (block, questions) in blocks.iter_mut().zip(&wanted) {
            let mut answers = Vec::new();
            for question in questions {
                if let Some(Known::Told(answer)) = self.known.get(question)
                    && let Entry::Vacant(place) = self.carried.entry(*question)
                {
                    place.insert(block.header.number);
                    answers.push(answer.as_str());
                }
            }
            if !answers.is_empty() {
                let text = format!("[{}]", answers.join(","));
                block.pools = Some(RawValue::from_string(text).expect("made of JSON objects"));
            }
        }
    }

    /// What the swaps of a block leave open and no block below it carries, each question once.
    fn questions(&mut self, block: &Fetched) -> Vec<Question> {
        let Some(text) = &block.receipts else { return Vec::new() };
        // Receipts that cannot be read are refused when the block is taken in.
        let Ok(receipts) = reader::from_str::<Vec<Receipt<'_>>>(text.get()) else { return Vec::new() };
        let decoded = self.logs.read(receipts_in_order(&receipts).iter().copied());
        let mut seen = HashSet::new();
        let open = decoded.swaps.iter().filter_map(Question::about);
        open.filter(|question| !self.carried.contains_key(question) && seen.insert(*question)).collect()
    }

    /// Asks what is not known yet.
    async fn find_out(&mut self, pool: &Pool, blocks: &[Fetched], wanted: &[Vec<Question>]) {
        if self.known.len() + self.carried.len() > REMEMBERED {
            self.known.clear();
            self.carried.clear();
        }
        let mut seen = HashSet::new();
        let mut asked = Vec::new();
        for (block, questions) in blocks.iter().zip(wanted) {
            let new = questions.iter().filter(|question| self.is_open(question) && seen.insert(**question));
            asked.extend(new.map(|question| (*question, block)));
        }
        asked.truncate(AT_ONCE);
        if asked.is_empty() {
            return;
        }
        let answers = RefCell::new(HashMap::new());
        let ask = async |(question, block): &(Question, &Fetched)| {
            let asker = Asker { pool, endpoint: block.endpoint, block: block.header.hash, factories: &self.factories };
            let answer = asker.answer(question).await;
            answers.borrow_mut().insert(*question, answer);
        };
        let in_time = tokio::time::timeout(self.patience, join_all(asked.iter().map(ask))).await;
        if in_time.is_err() {
            tracing::debug!(questions = asked.len(), "not all questions about pools were answered in time");
        }
        let mut answers = answers.into_inner();
        for (question, _) in asked {
            self.note(question, answers.remove(&question).unwrap_or(Err(Refusal::NotNow)));
        }
    }

    fn is_open(&self, question: &Question) -> bool {
        match self.known.get(question) {
            None => true,
            Some(Known::Failed(rounds)) => *rounds < ROUNDS,
            Some(Known::Told(_) | Known::Never) => false,
        }
    }

    fn note(&mut self, question: Question, answer: Result<String, Refusal>) {
        let (counter, known) = match answer {
            Ok(answer) => (&self.told, Known::Told(answer)),
            Err(Refusal::Never) => (&self.refused, Known::Never),
            Err(Refusal::NotNow) => {
                let before = match self.known.get(&question) {
                    Some(Known::Failed(rounds)) => *rounds,
                    _ => 0,
                };
                (&self.failed, Known::Failed(before + 1))
            }
        };
        counter.add(1);
        self.known.insert(question, known);
    }
}

fn counter(registry: &Registry, outcome: &'static str) -> Counter {
    let help = "Questions for the coins of pools, by what came of them.";
    registry.counter("highwater_rpc_pool_questions_total", ("outcome", outcome), help)
}
