//! Trades by their definition: for every swap all earlier positions of the chain are read again.

use std::collections::BTreeMap;

use highwater_operators::mev::MevSettings;

use crate::harness::kernel::KernelBlock;
use crate::harness::tables::{Cell, rows_of};

/// What a trade says beyond its swap.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) sold: Cell,
    pub(crate) bought: Cell,
    pub(crate) trust: String,
    pub(crate) price: Cell,
    pub(crate) usd: Cell,
    pub(crate) basis: Cell,
}

type Row = BTreeMap<String, Cell>;

/// Something that happened in a block, in the order of the chain.
struct Event {
    block: u64,
    time_ms: i64,
    /// Whether it is a swap; else it is an announcement.
    is_swap: bool,
    row: Row,
}

fn events(chain: &[KernelBlock]) -> Vec<Event> {
    let mut events = Vec::new();
    for block in chain {
        let mut of_block: Vec<Event> = Vec::new();
        for (is_swap, table) in [(false, &block.tables[1]), (true, &block.tables[0])] {
            let event = |row| Event { block: block.number, time_ms: block.timestamp_ms, is_swap, row };
            of_block.extend(rows_of(table).into_iter().map(event));
        }
        let place = |event: &Event| ["transaction_index", "log_index"].map(|name| int(&event.row[name]));
        of_block.sort_by_key(place);
        events.extend(of_block);
    }
    events
}

fn int(cell: &Cell) -> Option<i64> {
    if let Cell::Int(value) = cell { Some(*value) } else { None }
}

fn bytes(cell: &Cell) -> Vec<u8> {
    if let Cell::Bytes(value) = cell { value.clone() } else { panic!("{cell:?} is not bytes") }
}

fn amount(cell: &Cell) -> f64 {
    if let Cell::Amount(value) = cell { *value as f64 } else { panic!("{cell:?} is not an amount") }
}

fn trust(row: &Row) -> usize {
    let Cell::Text(name) = &row["trust"] else { panic!("trust is not text") };
    TRUST.iter().position(|trust| trust == name).expect("a known trust")
}

const TRUST: [&str; 3] = ["unverified", "balanced", "verified"];

/// The emitter and the pool.
fn pool(event: &Event) -> (Vec<u8>, Vec<u8>) {
    let pool = bytes(&event.row["pool"]);
    match event.is_swap {
        true => (bytes(&event.row["venue"]), pool),
        false if pool.len() == 20 => (pool.clone(), pool),
        false => (bytes(&event.row["factory"]), pool),
    }
}

fn is_named(pool: &[u8]) -> bool {
    pool.len() == 20 || pool.len() == 32
}

struct Known {
    by_factory: bool,
    by_transfers: bool,
    coins: BTreeMap<i64, Cell>,
}

/// What the events up to the last one tell of its pool.
fn known(past: &[Event]) -> Known {
    let mine = pool(past.last().expect("an event"));
    // Identifiers that are neither an address nor 32 bytes name nothing that could be remembered.
    let of_pool: Vec<&Event> = past.iter().filter(|event| is_named(&mine.1) && pool(event) == mine).collect();
    let swaps = |events: &[&Event], wanted: usize| {
        let swaps = events.iter().filter(|event| event.is_swap && trust(&event.row) == wanted);
        swaps.filter_map(|event| told(event)).collect::<Vec<_>>()
    };
    let announced =
        |event: &Event| TOKENS.map(|(index, name)| (int(&event.row[index]).expect("a place"), event.row[name].clone()));
    // A listed factory speaks by announcements and by swaps that are verified. The first word stands;
    // verified swaps may name further coins.
    let speaks = |event: &&Event| match event.is_swap {
        true => trust(&event.row) == 2 && told(event).is_some(),
        false => event.row["listed"] == Cell::Bool(true),
    };
    if let Some(first) = of_pool.iter().position(speaks) {
        let words = of_pool[first..].iter().filter(|event| speaks(event)).filter_map(|event| match event.is_swap {
            true => told(event),
            false => Some(announced(event)),
        });
        return Known { by_factory: true, by_transfers: false, coins: agreeing(words) };
    }
    let coins = agreeing(swaps(&of_pool, 1));
    let by_transfers = !coins.is_empty();
    let said = |source: &str| {
        let of_source = |event: &&&Event| !event.is_swap && event.row["source"] == Cell::Text(source.to_owned());
        agreeing(of_pool.iter().filter(of_source).map(|event| announced(event)))
    };
    // What the pool itself said counts more than what strangers said of it.
    let coins = [coins, said("call"), said("event")].into_iter().find(|coins| !coins.is_empty()).unwrap_or_default();
    Known { by_factory: false, by_transfers, coins }
}

const TOKENS: [(&str, &str); 2] = [("index0", "token0"), ("index1", "token1")];

/// The index and the coin of both sides of a swap, if it tells two of each.
fn told(event: &Event) -> Option<[(i64, Cell); 2]> {
    let leg = |index: &str, token: &str| Some((int(&event.row[index])?, event.row[token].clone()));
    let (sold, bought) = (leg("sold_index", "token_sold")?, leg("bought_index", "token_bought")?);
    let complete = sold.1 != Cell::Null && bought.1 != Cell::Null && sold.0 != bought.0 && sold.1 != bought.1;
    complete.then_some([sold, bought])
}

/// The coins of each word that contradicts none before.
fn agreeing(words: impl IntoIterator<Item = [(i64, Cell); 2]>) -> BTreeMap<i64, Cell> {
    let mut coins = BTreeMap::new();
    for word in words {
        if word.iter().all(|(index, token)| coins.get(index).is_none_or(|known| known == token)) {
            coins.extend(word);
        }
    }
    coins
}

/// Trades that tell the price of the native coin: block, time, pool, dollars for a unit, verified.
type Samples = Vec<Sample>;
/// One of them.
type Sample = (u64, i64, (Vec<u8>, Vec<u8>), f64, bool);

fn native_price(samples: &Samples, now_ms: i64) -> Option<f64> {
    let median = |only_verified: bool| {
        let mut last: Samples = Vec::new();
        for sample in samples.iter().filter(|sample| sample.4 || !only_verified) {
            last.retain(|other| (other.0, &other.2) != (sample.0, &sample.2));
            last.push(sample.clone());
        }
        let young = last.iter().rev().take(9).filter(|sample| now_ms - sample.1 <= 86_400_000);
        let mut prices: Vec<f64> = young.map(|sample| sample.3).collect();
        prices.sort_by(f64::total_cmp);
        (prices.len(), prices.get(prices.len().saturating_sub(1) / 2).copied())
    };
    let (count, verified) = median(true);
    if count >= 5 { verified } else { median(false).1 }
}

/// What every trade of the chain says, by block.
pub(crate) fn dex_trades(chain: &[KernelBlock], settings: &MevSettings) -> Vec<Vec<Said>> {
    let events = events(chain);
    let mut samples = Samples::new();
    let mut said: BTreeMap<u64, Vec<Said>> = chain.iter().map(|block| (block.number, Vec::new())).collect();
    for (index, event) in events.iter().enumerate().filter(|(_, event)| event.is_swap) {
        let known = known(&events[..=index]);
        let trade = trade(event, &known, &samples, settings);
        if let Some(sample) = sample(event, &trade, settings) {
            samples.push(sample);
        }
        said.get_mut(&event.block).expect("a block of the chain").push(trade);
    }
    said.into_values().collect()
}

fn trade(event: &Event, known: &Known, samples: &Samples, settings: &MevSettings) -> Said {
    let row = &event.row;
    let coin = |index: &str| int(&row[index]).and_then(|index| known.coins.get(&index));
    let sides = [("sold_index", "token_sold", "amount_sold"), ("bought_index", "token_bought", "amount_bought")];
    let tokens = sides.map(|(index, token, _)| coin(index).unwrap_or(&row[token]).clone());
    let amounts = sides.map(|(_, _, name)| amount(&row[name]));
    let contradicted = sides
        .iter()
        .any(|(index, token, _)| row[*token] != Cell::Null && coin(index).is_some_and(|coin| *coin != row[*token]));
    let complete = sides.iter().all(|(index, _, _)| coin(index).is_some());
    let trust = match trust(row) {
        _ if known.by_factory => 2,
        _ if known.by_transfers && contradicted => 0,
        own if known.by_transfers && complete => own.max(1),
        own => own,
    };
    let worth = if trust == 0 { None } else { worth(event, &tokens, amounts, samples, settings) };
    Said {
        price: price([int(&row["sold_index"]), int(&row["bought_index"])], &tokens, amounts),
        trust: TRUST[trust].to_owned(),
        usd: worth.map_or(Cell::Null, |(usd, _)| Cell::Float(usd)),
        basis: worth.map_or(Cell::Null, |(_, basis)| Cell::Text(basis.to_owned())),
        sold: tokens[0].clone(),
        bought: tokens[1].clone(),
    }
}

fn price(indexes: [Option<i64>; 2], tokens: &[Cell; 2], amounts: [f64; 2]) -> Cell {
    let order = match (indexes, tokens) {
        ([Some(sold), Some(bought)], _) if sold != bought => sold < bought,
        (_, [Cell::Bytes(sold), Cell::Bytes(bought)]) if sold != bought => sold < bought,
        _ => return Cell::Null,
    };
    let [first, second] = if order { amounts } else { [amounts[1], amounts[0]] };
    if first > 0.0 && second > 0.0 { Cell::Float(second / first) } else { Cell::Null }
}

fn is_native(token: &Cell, settings: &MevSettings) -> bool {
    let Cell::Bytes(token) = token else { return false };
    token == &[0; 20] || settings.wrapped_native.iter().any(|wrapped| wrapped[..] == token[..])
}

fn worth(
    event: &Event,
    tokens: &[Cell; 2],
    amounts: [f64; 2],
    samples: &Samples,
    settings: &MevSettings,
) -> Option<(f64, &'static str)> {
    let sides = || tokens.iter().zip(amounts).filter(|(_, amount)| *amount > 0.0);
    let address = |token: &Cell| -> Option<[u8; 20]> {
        if let Cell::Bytes(token) = token { token.as_slice().try_into().ok() } else { None }
    };
    for (token, amount) in sides() {
        if let Some(decimals) = address(token).and_then(|token| settings.stablecoins.get(&token)) {
            return Some((amount / 10_f64.powi(i32::try_from(*decimals).expect("few")), "stable"));
        }
    }
    if let (Some((_, amount)), Some(usd)) =
        (sides().find(|(token, _)| is_native(token, settings)), native_price(samples, event.time_ms))
    {
        return Some((amount * usd, "native"));
    }
    let mut priced =
        sides().filter_map(|(token, amount)| Some(amount * settings.prices.at(&address(token)?, event.time_ms)?));
    priced.next().map(|usd| (usd, "table"))
}

fn sample(event: &Event, trade: &Said, settings: &MevSettings) -> Option<Sample> {
    let Cell::Float(usd) = trade.usd else { return None };
    let verified = trade.trust == "verified";
    let believed = verified || trust(&event.row) > 0;
    if trade.basis != Cell::Text("stable".to_owned()) || usd < 100.0 || !believed {
        return None;
    }
    let native = if is_native(&trade.sold, settings) {
        amount(&event.row["amount_sold"])
    } else if is_native(&trade.bought, settings) {
        amount(&event.row["amount_bought"])
    } else {
        return None;
    };
    let usable = native > 0.0 && is_named(&pool(event).1);
    usable.then(|| (event.block, event.time_ms, pool(event), usd / native, verified))
}
