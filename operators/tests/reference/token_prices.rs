//! Prices by their definition: for every token the trades of the block are read again.

use std::collections::{BTreeMap, BTreeSet};

use highwater_operators::mev::MevSettings;

use crate::harness::tables::Cell;

type Row = BTreeMap<String, Cell>;
type Address = [u8; 20];

/// Token, dollars for a unit, volume, trades, source.
pub(crate) type Price = (Address, f64, f64, i64, String);

fn address(cell: &Cell) -> Option<Address> {
    if let Cell::Bytes(bytes) = cell { bytes.as_slice().try_into().ok() } else { None }
}

fn amount(cell: &Cell) -> u128 {
    if let Cell::Amount(amount) = cell { *amount } else { panic!("{cell:?} is not an amount") }
}

/// A trade as seen from a token: units, dollars, basis, whether it is verified, whether the token bore
/// the value.
type Seen = (u128, f64, String, bool, bool);

fn seen(row: &Row, token: Address, time_ms: i64, settings: &MevSettings) -> Option<Seen> {
    let (Cell::Float(usd), Cell::Text(basis)) = (&row["amount_usd"], &row["usd_basis"]) else { return None };
    let side =
        |token: &str, units: &str| Some((address(&row[token])?, amount(&row[units]))).filter(|(_, units)| *units > 0);
    let sides = [side("token_sold", "amount_sold"), side("token_bought", "amount_bought")];
    let known = |token: &Address| match basis.as_str() {
        "stable" => settings.stablecoins.contains_key(token),
        "native" => *token == [0; 20] || settings.wrapped_native.contains(token),
        _ => settings.prices.at(token, time_ms).is_some(),
    };
    let bearer = sides.iter().position(|side| side.is_some_and(|(token, _)| known(&token)))?;
    let verified = row["trust"] == Cell::Text("verified".to_owned());
    let (other, bearing) = (sides[1 - bearer], sides[bearer]);
    let of_token = |side: Option<(Address, u128)>| side.filter(|(one, _)| *one == token);
    let (units, echo) = match (of_token(bearing), of_token(other)) {
        (Some((_, units)), _) => (units, true),
        (None, Some((_, units))) => (units, false),
        _ => return None,
    };
    (*usd >= 1.0).then(|| (units, *usd, basis.clone(), verified, echo))
}

pub(crate) fn token_prices(trades: &[Row], time_ms: i64, settings: &MevSettings) -> Vec<Price> {
    let sides = trades.iter().flat_map(|row| [address(&row["token_sold"]), address(&row["token_bought"])]);
    let tokens: BTreeSet<Address> = sides.flatten().collect();
    let price = |token: Address| {
        let all: Vec<Seen> = trades.iter().filter_map(|row| seen(row, token, time_ms, settings)).collect();
        let best = all.iter().map(|trade| (trade.4, !trade.3)).min()?;
        let counted: Vec<&Seen> = all.iter().filter(|trade| (trade.4, !trade.3) == best).collect();
        let usd: f64 = counted.iter().map(|trade| trade.1).sum();
        let units: u128 = counted.iter().map(|trade| trade.0).sum();
        let of_basis = |basis: &str| counted.iter().filter(|trade| trade.2 == basis).map(|trade| trade.1).sum::<f64>();
        let source = ["table", "native", "stable"].into_iter().max_by(|a, b| of_basis(a).total_cmp(&of_basis(b)))?;
        let trades = i64::try_from(counted.len()).expect("few");
        Some((token, usd / units as f64, usd, trades, source.to_owned()))
    };
    tokens.into_iter().filter_map(price).collect()
}
