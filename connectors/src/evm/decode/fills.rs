//! What was given and got in fills whose events do not tell it, from the transfers of the transaction.
//!
//! Of a trader with one such fill in the transaction: the only coin the trader sent, and the only coin the trader
//! got. Two transfers either way, or two fills of one trader, leave open which belongs to which, and then nothing
//! is said. Native coin leaves no log, so that side stays open too.

use super::rows::{AggregatorTrade, Transfer};
use super::word::Address;

/// Completes the fills of one transaction. Both lists are those of that transaction.
pub(super) fn name_fills(fills: &mut [AggregatorTrade], transfers: &[Transfer]) {
    for index in 0..fills.len() {
        let fill = &fills[index];
        let Some(trader) = fill.trader.filter(|_| is_open(fill)) else { continue };
        let is_other = |(other, fill): (usize, &AggregatorTrade)| {
            other != index && (fill.trader == Some(trader) || fill.filler == Some(trader))
        };
        if fills.iter().enumerate().any(is_other) {
            continue;
        }
        let parties = fill.filler.map(|filler| [filler, fill.venue]);
        let is_party = |other: &Address| parties.is_none_or(|parties| parties.contains(other));
        let sold = only(transfers.iter().filter(|sent| sent.from == trader), |sent| is_party(&sent.to));
        let bought = only(transfers.iter().filter(|got| got.to == trader), |got| is_party(&got.from));
        if sold.zip(bought).is_some_and(|(sold, bought)| sold.token == bought.token) {
            continue;
        }
        let fill = &mut fills[index];
        fill.token_sold = sold.map(|sold| sold.token);
        fill.amount_sold = sold.map(|sold| sold.amount);
        fill.token_bought = bought.map(|bought| bought.token);
        fill.amount_bought = bought.map(|bought| bought.amount);
    }
}

/// Whether the event told nothing of what changed hands.
fn is_open(fill: &AggregatorTrade) -> bool {
    matches!(fill.event, "fill" | "order_filled") && fill.token_sold.is_none() && fill.token_bought.is_none()
}

/// The only transfer of a fungible token to or from somebody else, if it is with one of the parties.
fn only<'a>(
    transfers: impl Iterator<Item = &'a Transfer>,
    is_of_party: impl Fn(&Transfer) -> bool,
) -> Option<&'a Transfer> {
    let mut moved = transfers.filter(|transfer| transfer.standard.is_fungible() && transfer.from != transfer.to);
    let first = moved.next().filter(|first| is_of_party(first))?;
    moved.next().is_none().then_some(first)
}
