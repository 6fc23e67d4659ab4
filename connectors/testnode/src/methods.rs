//! The methods, and how a request becomes an answer.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::chain::{Block, Json, hash, hex, quantity};
use crate::fault::{Effect, Kind, Occasion, Transport};
use crate::filter::Filter;
use crate::push::Topic;
use crate::state::{Call, State};

/// Where a request came from.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    Http,
    Socket(u64),
}

impl Origin {
    fn transport(self) -> Transport {
        match self {
            Origin::Http => Transport::Http,
            Origin::Socket(_) => Transport::WebSocket,
        }
    }
}

/// An answer, and the effects that concern how it is carried.
pub(crate) struct Exchange {
    pub(crate) text: String,
    pub(crate) effects: Vec<Effect>,
}

/// A JSON-RPC error.
struct Failure {
    code: i64,
    message: String,
}

fn failure(code: i64, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

/// What a method gives: large results come as the text they are kept as.
enum Found {
    Value(Value),
    Text(String),
}

impl Found {
    fn text(self) -> String {
        match self {
            Found::Value(value) => value.to_string(),
            Found::Text(text) => text,
        }
    }

    fn value(self) -> Value {
        match self {
            Found::Value(value) => value,
            Found::Text(text) => serde_json::from_str(&text).expect("what is kept is JSON"),
        }
    }
}

type Answer = Result<Value, Failure>;

/// What a node that is not quite right sees.
#[derive(Clone, Copy, Default)]
struct View {
    behind: u64,
    other_block: bool,
    orphan: bool,
}

impl State {
    /// Answers a request, which may be a batch.
    pub(crate) fn exchange(&mut self, text: &str, origin: Origin) -> Exchange {
        self.stats.http_requests += u64::from(matches!(origin, Origin::Http));
        let mut effects = Vec::new();
        let text = match serde_json::from_str::<Value>(text) {
            Err(error) => refusal(&Value::Null, &failure(-32_700, format!("parse error: {error}"))),
            Ok(Value::Array(calls)) => self.batch(&calls, origin, &mut effects),
            Ok(call) => self.call(&call, origin, &mut effects),
        };
        Exchange { text, effects }
    }

    fn batch(&mut self, calls: &[Value], origin: Origin, effects: &mut Vec<Effect>) -> String {
        self.stats.batches += 1;
        if calls.is_empty() {
            return refusal(&Value::Null, &failure(-32_600, "empty batch"));
        }
        if self.manner.batch_limit.is_some_and(|limit| calls.len() > limit) {
            return refusal(&Value::Null, &failure(-32_600, "batch too large"));
        }
        let mut replies = Vec::with_capacity(calls.len());
        for call in calls {
            let before = effects.len();
            let reply = self.call(call, origin, effects);
            if !effects[before..].iter().any(|effect| matches!(effect, Effect::Omit)) {
                replies.push(reply);
            }
        }
        if self.manner.reverses_batches {
            replies.reverse();
        }
        format!("[{}]", replies.join(","))
    }

    fn call(&mut self, call: &Value, origin: Origin, carried: &mut Vec<Effect>) -> String {
        let id = &call["id"];
        let Some(method) = call["method"].as_str() else {
            return refusal(id, &failure(-32_600, "invalid request"));
        };
        let params = &call["params"];
        *self.stats.calls.entry(method.to_owned()).or_default() += 1;
        self.journal.push(Call { method: method.to_owned(), params: params.clone(), transport: origin.transport() });
        let block = self.height_named(&params[0]);
        let occasion = Occasion { kind: Kind::Call(method), transport: origin.transport(), block };
        let effects = self.strike(&occasion);
        let answer = self.answer_with(method, params, origin, &effects);
        carried.extend(effects.iter().filter(|effect| is_carried(effect)).cloned());
        let wrong_id = json!(4_000_000_000_u64);
        let id = if effects.iter().any(|effect| matches!(effect, Effect::WrongId)) { &wrong_id } else { id };
        if effects.iter().any(|effect| matches!(effect, Effect::NoResult)) {
            return format!(r#"{{"jsonrpc":"2.0","id":{id}}}"#);
        }
        match answer {
            Ok(found) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, found.text()),
            Err(failure) => refusal(id, &failure),
        }
    }

    fn answer_with(
        &mut self,
        method: &str,
        params: &Value,
        origin: Origin,
        effects: &[Effect],
    ) -> Result<Found, Failure> {
        let mut view = View::default();
        for effect in effects {
            match effect {
                Effect::Error(code, message) => return Err(failure(*code, *message)),
                Effect::Null => return Ok(Found::Value(Value::Null)),
                Effect::Behind(blocks) => view.behind += blocks,
                Effect::OtherBlock => view.other_block = true,
                Effect::Orphan => view.orphan = true,
                _ => {}
            }
        }
        let mut found = self.find(method, params, origin, view)?;
        for effect in effects {
            if let Effect::Alter(alter) = effect {
                let mut value = found.value();
                alter(&mut value);
                found = Found::Value(value);
            }
        }
        Ok(found)
    }

    /// Large results as text; all others as values.
    fn find(&mut self, method: &str, params: &Value, origin: Origin, view: View) -> Result<Found, Failure> {
        let missing = || failure(-32_601, format!("the method {method} does not exist/is not available"));
        if self.manner.missing_methods.contains(method) {
            return Err(missing());
        }
        let traced = |json: Option<&Json>| Ok(Found::Text(json.ok_or_else(missing)?.text().to_owned()));
        let block = match method {
            "eth_getBlockByNumber"
            | "eth_getBlockByHash"
            | "eth_getBlockReceipts"
            | "trace_block"
            | "debug_traceBlockByNumber"
            | "debug_traceBlockByHash" => self.block(&params[0], view)?,
            _ => return self.answer(method, params, origin, view)?.ok_or_else(missing).map(Found::Value),
        };
        match (method, block) {
            ("debug_traceBlockByNumber" | "debug_traceBlockByHash", None) => Err(failure(-32_000, "block not found")),
            (_, None) => Ok(Found::Value(Value::Null)),
            ("eth_getBlockReceipts", Some(block)) => Ok(Found::Text(block.receipts_text().to_owned())),
            ("trace_block", Some(block)) => traced(block.traces().parity.as_ref()),
            ("debug_traceBlockByNumber" | "debug_traceBlockByHash", Some(block)) => {
                traced(block.traces().call_tracer.as_ref())
            }
            (_, Some(block)) if params[1] == true => Ok(Found::Text(block.text().to_owned())),
            (_, Some(block)) => Ok(Found::Value(block.with_hashes())),
        }
    }

    /// `None` for an unknown method.
    fn answer(&mut self, method: &str, params: &Value, origin: Origin, view: View) -> Result<Option<Value>, Failure> {
        let first = &params[0];
        let value = match method {
            "eth_chainId" => hex(self.manner.chain_id),
            "net_version" => Value::String(self.manner.chain_id.to_string()),
            "web3_clientVersion" => Value::String(self.manner.client_version.clone()),
            "eth_syncing" => self.syncing(view),
            "eth_blockNumber" => hex(self.height(view.behind)),
            "eth_getTransactionReceipt" => self.receipt(first, view),
            "eth_getLogs" => self.logs(first, view)?,
            "eth_call" => self.scripted_call(first)?,
            "eth_subscribe" => self.subscribe(params, origin)?,
            "eth_unsubscribe" => match (origin, first.as_str()) {
                (Origin::Socket(socket), Some(id)) => Value::Bool(self.hub.unsubscribe(socket, id)),
                _ => return Err(failure(-32_602, "no such subscription")),
            },
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    fn syncing(&self, view: View) -> Value {
        let highest = self.head().number + 1_000;
        match self.manner.syncing {
            true => {
                json!({"startingBlock": "0x0", "currentBlock": hex(self.height(view.behind)), "highestBlock": hex(highest)})
            }
            false => Value::Bool(false),
        }
    }

    /// The height that a number, a tag, a hash or an object with either names, for rules about a block.
    fn height_named(&self, given: &Value) -> Option<u64> {
        if let Some(fields) = given.as_object() {
            let names = ["blockHash", "blockNumber", "fromBlock"];
            return names.iter().find_map(|name| self.height_named(fields.get(*name)?));
        }
        match hash(given) {
            Some(hash) => self.blocks.get(&hash).map(|block| block.number),
            None => self.height_of(given, View::default()).ok().flatten(),
        }
    }

    /// The height of a number or a tag. `None` for a tag that has no block.
    fn height_of(&self, given: &Value, view: View) -> Result<Option<u64>, Failure> {
        let lowest = self.canonical.first_key_value().map(|(number, _)| *number);
        match given.as_str() {
            Some("latest" | "pending") | None => Ok(Some(self.height(view.behind))),
            Some("earliest") => Ok(lowest),
            Some("safe") => Ok(self.height_of_tag(self.manner.safe, view.behind)),
            Some("finalized") => Ok(self.height_of_tag(self.manner.finalized, view.behind)),
            Some(_) => quantity(given).map(Some).ok_or_else(|| failure(-32_602, "invalid argument 0: not a block")),
        }
    }

    /// The block that a parameter names.
    fn block(&self, given: &Value, view: View) -> Result<Option<Arc<Block>>, Failure> {
        let given = given.get("blockHash").or_else(|| given.get("blockNumber")).unwrap_or(given);
        let found = match hash(given) {
            Some(hash) => self.blocks.get(&hash).filter(|block| self.still_knows(block)).cloned(),
            None => match self.height_of(given, view)? {
                Some(number) => self.canonical.get(&number).cloned(),
                None => return Err(failure(-39_001, "unknown block")),
            },
        };
        let late = self.height(view.behind);
        let found = found.filter(|block| block.number <= late && block.number >= self.manner.pruned_below);
        Ok(found.map(|block| self.seen_wrongly(block, view)))
    }

    fn still_knows(&self, block: &Block) -> bool {
        self.seen.contains(&block.hash) && (!self.manner.forgets_orphans || self.is_canonical(block))
    }

    fn seen_wrongly(&self, block: Arc<Block>, view: View) -> Arc<Block> {
        if view.orphan {
            let rivals = self.by_height.get(&block.number).map(Vec::as_slice).unwrap_or_default();
            return rivals.iter().find(|rival| rival.hash != block.hash).cloned().unwrap_or(block);
        }
        if view.other_block {
            let below = block.number.checked_sub(1).and_then(|number| self.canonical.get(&number));
            return below.or_else(|| self.canonical.get(&(block.number + 1))).cloned().unwrap_or(block);
        }
        block
    }

    fn receipt(&self, transaction: &Value, view: View) -> Value {
        let blocks = self.canonical.range(..=self.height(view.behind)).rev();
        let mut receipts = blocks.flat_map(|(_, block)| block.receipts());
        receipts.find(|receipt| &receipt["transactionHash"] == transaction).cloned().unwrap_or(Value::Null)
    }

    fn logs(&self, given: &Value, view: View) -> Answer {
        let filter = Filter::of(given);
        let blocks = match given.get("blockHash") {
            Some(_) => vec![self.block(given, view)?.ok_or_else(|| failure(-32_000, "unknown block"))?],
            None => self.log_range(given, view)?,
        };
        let logs: Vec<Value> =
            blocks.iter().flat_map(|block| block.logs(false)).filter(|log| filter.matches(log)).collect();
        match self.manner.logs_count_limit {
            Some(limit) if logs.len() > limit => {
                Err(failure(-32_005, format!("query returned more than {limit} results")))
            }
            _ => Ok(Value::Array(logs)),
        }
    }

    fn log_range(&self, given: &Value, view: View) -> Result<Vec<Arc<Block>>, Failure> {
        let unknown = || failure(-39_001, "unknown block");
        let from = self.height_of(&given["fromBlock"], view)?.ok_or_else(unknown)?;
        let to = self.height_of(&given["toBlock"], view)?.ok_or_else(unknown)?;
        if from > to {
            return Err(failure(-32_602, "invalid block range params"));
        }
        if let Some(limit) = self.manner.logs_range_limit
            && to - from >= limit
        {
            return Err(failure(-32_602, format!("eth_getLogs is limited to a {limit} blocks range")));
        }
        let late = self.height(view.behind);
        let blocks = self.canonical.range(from..=to).filter(|(number, _)| **number <= late);
        Ok(blocks.map(|(_, block)| self.seen_wrongly(block.clone(), view)).collect())
    }

    fn scripted_call(&self, call: &Value) -> Answer {
        let lower = |value: &Value| value.as_str().unwrap_or_default().to_ascii_lowercase();
        let data = if call["input"].is_null() { &call["data"] } else { &call["input"] };
        let answer = self.call_answers.get(&(lower(&call["to"]), lower(data)));
        answer.cloned().ok_or_else(|| failure(3, "execution reverted"))
    }

    fn subscribe(&mut self, params: &Value, origin: Origin) -> Answer {
        let Origin::Socket(socket) = origin else { return Err(failure(-32_601, "notifications not supported")) };
        let topic = match params[0].as_str() {
            Some("newHeads") => Topic::Heads,
            Some("logs") => Topic::Logs(Filter::of(&params[1])),
            _ => return Err(failure(-32_601, "no such subscription in eth namespace")),
        };
        Ok(Value::String(self.hub.subscribe(socket, topic)))
    }
}

/// Whether an effect concerns more than the reply to its call.
fn is_carried(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Status(..)
            | Effect::Reset
            | Effect::Close
            | Effect::HalfAnswer
            | Effect::Hold
            | Effect::Delay(_)
            | Effect::Body(_)
            | Effect::ContentType(_)
            | Effect::Omit
    )
}

fn refusal(id: &Value, failure: &Failure) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": failure.code, "message": failure.message}}).to_string()
}
