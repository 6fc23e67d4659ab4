//! Rule L1 by its definition: every cell of a row from all rows of the block.

use std::collections::BTreeMap;

use highwater_operators::mev::MevSettings;

use crate::harness::kernel::KernelBlock;
use crate::harness::tables::{Cell, rows_of};

type Row = BTreeMap<String, Cell>;
type Sum = (Vec<u8>, u128);

/// What a row says beyond its event: received, gas, bonus, profit, trigger.
pub(crate) type Found = (Option<Sum>, Cell, Cell, Cell, Cell);

fn int(row: &Row, name: &str) -> Option<i64> {
    if let Cell::Int(value) = row[name] { Some(value) } else { None }
}

fn bytes(row: &Row, name: &str) -> Option<Vec<u8>> {
    if let Cell::Bytes(value) = &row[name] { Some(value.clone()) } else { None }
}

fn amount(row: &Row, name: &str) -> Option<u128> {
    if let Cell::Amount(value) = row[name] { Some(value) } else { None }
}

/// The columns of a link.
pub(crate) const LINKED: [&str; 6] = [
    "linked_event",
    "linked_block_number",
    "linked_tx_hash",
    "linked_log_index",
    "linked_borrower",
    "linked_market_id",
];
pub(crate) type Linked = [Cell; 6];

/// The links of all events of a chain, block by block: of all events of the chain the last that fits.
pub(crate) fn links(chain: &[KernelBlock], settings: &MevSettings) -> Vec<Vec<Linked>> {
    let all: Vec<(u64, Vec<Row>)> = chain.iter().map(|block| (block.number, rows_of(&block.tables[0]))).collect();
    let everything = || all.iter().flat_map(|(number, rows)| rows.iter().map(move |row| (*number, row)));
    let place = |number: u64, row: &Row| (number, int(row, "transaction_index"), int(row, "log_index"));
    let link = |number: u64, row: &Row| {
        let Cell::Text(event) = &row["event"] else { panic!("an event has a name") };
        let (beginning, same, blocks) = match event.as_str() {
            "kick" => ("bark", "auction_id", 0),
            "take" => ("bark", "auction_id", settings.look_back.auction_blocks),
            "buy_collateral" => ("absorb_collateral", "collateral_token", settings.look_back.compound_v3_blocks),
            _ => return LINKED.map(|_| Cell::Null),
        };
        let fits = |(height, other): &(u64, &Row)| {
            let before = if event == "kick" {
                *height == number && other["transaction_index"] == row["transaction_index"]
            } else {
                place(*height, other) < place(number, row) && number - height <= blocks
            };
            other["event"] == Cell::Text(beginning.to_owned())
                && before
                && other["market"] == row["market"]
                && other[same] == row[same]
                && row[same] != Cell::Null
        };
        match everything().filter(fits).max_by_key(|(height, other)| place(*height, other)) {
            None => LINKED.map(|_| Cell::Null),
            Some((height, other)) => [
                Cell::Text(beginning.to_owned()),
                Cell::Int(i64::try_from(height).expect("small")),
                other["transaction_hash"].clone(),
                other["log_index"].clone(),
                other["borrower"].clone(),
                other["market_id"].clone(),
            ],
        }
    };
    all.iter().map(|(number, rows)| rows.iter().map(|row| link(*number, row)).collect()).collect()
}

/// The first transfer after the event of just the amount, in units of 18, else 8, else 6 decimals.
fn bought(event: &Row, all: &[Row]) -> Option<Sum> {
    let (at, seized) = (int(event, "log_index"), amount(event, "collateral_seized")?);
    let units = [seized, seized / 10_u128.pow(10), seized / 10_u128.pow(12)];
    let after: Vec<&Row> = transfers(event, all).filter(|(log, _)| Some(*log) > at).map(|(_, row)| row).collect();
    units.into_iter().filter(|amount| *amount > 0).find_map(|units| {
        let row = after.iter().find(|row| amount(row, "amount") == Some(units))?;
        Some((bytes(row, "token_address")?, units))
    })
}

fn usd(sum: &Sum, prices: &[Row], settings: &MevSettings, time_ms: i64) -> Option<f64> {
    let token: [u8; 20] = sum.0.as_slice().try_into().expect("an address");
    if let Some(decimals) = settings.stablecoins.get(&token) {
        return Some(sum.1 as f64 / 10_f64.powi(i32::try_from(*decimals).expect("few")));
    }
    let traded = prices.iter().find(|row| bytes(row, "token_address").as_ref() == Some(&sum.0));
    let price = traded.map(|row| if let Cell::Float(usd) = row["usd_per_raw_unit"] { usd } else { panic!("no price") });
    Some(sum.1 as f64 * price.or_else(|| settings.prices.at(&token, time_ms))?)
}

/// The transfers of the event's transaction with their logs.
fn transfers<'a>(event: &'a Row, all: &'a [Row]) -> impl Iterator<Item = (i64, &'a Row)> {
    let mine = all.iter().filter(|row| row["transaction_index"] == event["transaction_index"]);
    mine.filter_map(|row| Some((int(row, "log_index")?, row)))
}

fn received(event: &Row, all: &[Row]) -> Option<Sum> {
    let (seized, token) = (amount(event, "collateral_seized")?, bytes(event, "collateral_token")?);
    let liquidator = bytes(event, "liquidator")?;
    let at = int(event, "log_index").expect("a log");
    let is = |row: &Row, name: &str, address: &[u8]| bytes(row, name).as_deref() == Some(address);
    let mut best: Option<(bool, i64, bool, u128)> = None;
    for (log, row) in transfers(event, all) {
        let moved = amount(row, "amount").expect("an amount");
        if is(row, "token_address", &token) && is(row, "to_address", &liquidator) && 0 < moved && moved <= seized {
            let candidate = (moved != seized, (log - at).abs(), log >= at, moved);
            if best.is_none_or(|best| (candidate.0, candidate.1, candidate.2) < (best.0, best.1, best.2)) {
                best = Some(candidate);
            }
        }
    }
    let got = best?.3;
    let back = transfers(event, all).find(|(log, row)| {
        *log > at
            && is(row, "token_address", &token)
            && is(row, "from_address", &liquidator)
            && is(row, "to_address", &token)
            && amount(row, "amount") == Some(got)
    });
    let paid = back.and_then(|(back_at, _)| {
        let paid = transfers(event, all).filter(|(log, row)| {
            *log > at
                && !is(row, "token_address", &token)
                && is(row, "from_address", &token)
                && is(row, "to_address", &liquidator)
        });
        paid.min_by_key(|(log, _)| ((log - back_at).abs(), *log >= back_at))
    });
    Some(match paid {
        Some((_, row)) => (bytes(row, "token_address")?, amount(row, "amount")?),
        None => (token, got),
    })
}

fn gas(event: &Row, transactions: &[Row]) -> Option<u128> {
    let row = transactions.iter().find(|row| row["transaction_index"] == event["transaction_index"])?;
    let price = [&row["effective_gas_price"], &row["gas_price"]].into_iter().find(|price| **price != Cell::Null)?;
    let Cell::Wei(price) = price else { panic!("{price:?} is not wei") };
    let used = u128::try_from(int(row, "gas_used")?).expect("not negative");
    Some(used * u128::try_from(*price).expect("not negative") + amount(row, "l1_fee").unwrap_or(0))
}

pub(crate) fn liquidations(block: &KernelBlock, settings: &MevSettings) -> Vec<Found> {
    let [events, transfers, transactions, prices, oracle] = &block.tables[..] else { panic!("five tables") };
    let (events, transfers, transactions) = (rows_of(events), rows_of(transfers), rows_of(transactions));
    let (prices, oracle) = (rows_of(prices), rows_of(oracle));
    let usd = |sum: &Sum| usd(sum, &prices, settings, block.timestamp_ms);
    let place = |row: &Row| (int(row, "transaction_index"), int(row, "log_index"));
    let found = |event: &Row| {
        let take = event["event"] == Cell::Text("take".to_owned());
        let rads = amount(event, "debt_repaid").filter(|_| take && event["collateral_seized"] != Cell::Null);
        let received = received(event, &transfers).or_else(|| bought(event, &transfers).filter(|_| rads.is_some()));
        let sum = |token: &str, units: &str| Some((bytes(event, token)?, amount(event, units)?));
        let debt = sum("debt_token", "debt_repaid").and_then(|sum| usd(&sum));
        let debt = debt.or(rads.map(|rads| rads as f64 / 1e45));
        let seized = sum("collateral_token", "collateral_seized").and_then(|sum| usd(&sum));
        let got = received.as_ref().and_then(usd);
        let gas = gas(event, &transactions);
        let sharers = events.iter().filter(|other| other["transaction_index"] == event["transaction_index"]).count();
        let gas_usd = gas.and_then(|wei| {
            settings.wrapped_native.iter().find_map(|token| usd(&(token.to_vec(), wei))).map(|usd| usd / sharers as f64)
        });
        let bonus = match (seized.or(got), debt) {
            (Some(collateral), Some(debt)) if debt > 0.0 => Cell::Float(10_000.0 * (collateral / debt - 1.0)),
            _ => Cell::Null,
        };
        let profit = match (got.or(seized), debt, gas_usd) {
            (Some(got), Some(debt), Some(gas)) => Cell::Float(got - debt - gas),
            _ => Cell::Null,
        };
        let before = oracle.iter().filter(|update| place(update) < place(event)).max_by_key(|update| place(update));
        let trigger = before.map_or(Cell::Null, |update| update["transaction_hash"].clone());
        (received, gas.map_or(Cell::Null, Cell::Amount), bonus, profit, trigger)
    };
    events.iter().map(found).collect()
}
