//! Swaps of venues without a known event, inferred from the transfers of their transaction.
//!
//! An address swapped if it has exactly two transfers of fungible tokens in the transaction, was paid one token and
//! paid out another. What it pays of the latter to that token's own contract is a fee that the token takes, and does
//! not count. Left out are
//!
//! * addresses that a known event explains: pools and contracts of decoded swaps, contracts and traders of fills;
//! * wrappers of native coin and the zero address;
//! * the transaction's sender, and the contract it was sent to unless the sender is the other party of one of the
//!   transfers: a contract that trades for its caller moves the same two tokens the other way round.
//!
//! Known routers are left to SQL, which has the labels. What is left may still be no venue: staking that takes a
//! deposit and pays a reward moves the same two tokens. Two addresses that trade with each other alone cannot be told
//! apart, and both are told. The rule is `try_create_swaps` of brontes:
//! <https://github.com/SorellaLabs/brontes/blob/main/crates/brontes-inspect/src/shared_utils.rs>.

use alloy_primitives::U256;

use super::identity::Way;
use super::rows::{Decoded, InferredSwap, Lengths, PoolId, Standard, Transfer};
use super::word::{Address, ZERO};
use crate::evm::json::Receipt;

/// Who sent a transaction, and to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    from: Option<Address>,
    to: Option<Address>,
}

impl Sent {
    pub(super) fn of(receipt: &Receipt<'_>) -> Sent {
        Sent { from: receipt.from.fixed().ok(), to: receipt.to.fixed().ok() }
    }
}

/// One side of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Movement {
    party: Address,
    /// Position in the list of transfers.
    transfer: usize,
    way: Way,
}

/// What is gathered of one transaction; kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Movements {
    sides: Vec<Movement>,
    /// The addresses left out, in order.
    explained: Vec<Address>,
}

/// Appends what looks like a swap among the transfers since `start`, those of one transaction.
pub(super) fn infer_swaps(decoded: &mut Decoded, start: Lengths, sent: Sent) {
    let Decoded { transfers, swaps, aggregator_trades, inferred_swaps, movements, .. } = decoded;
    let transfers = &transfers[start.transfers..];
    if transfers.len() < 2 {
        return;
    }
    let Movements { sides, explained } = movements;
    explained.clear();
    explained.push(ZERO_ADDRESS);
    explained.extend(sent.from);
    for swap in &swaps[start.swaps..] {
        explained.push(swap.venue);
        if let PoolId::Address(pool) = swap.pool {
            explained.push(pool);
        }
    }
    for fill in &aggregator_trades[start.aggregator_trades..] {
        explained.push(fill.venue);
        explained.extend(fill.trader);
    }
    sides.clear();
    for (index, transfer) in transfers.iter().enumerate().filter(|(_, transfer)| is_payment(transfer)) {
        let side = |party, way| Movement { party, transfer: index, way };
        sides.extend([side(transfer.from, Way::Out), side(transfer.to, Way::In)]);
        if transfer.standard != Standard::Erc20 {
            explained.push(transfer.token);
        }
    }
    sides.sort_unstable();
    explained.sort_unstable();
    let first = inferred_swaps.len();
    for sides in sides.chunk_by(|one, next| one.party == next.party) {
        if sides.len() > 1 && explained.binary_search(&sides[0].party).is_err() {
            inferred_swaps.extend(swap_of(sides, transfers).filter(|swap| acts_for_itself(swap, sent)));
        }
    }
    let swaps = &mut inferred_swaps[first..];
    swaps.sort_unstable_by_key(|swap| (swap.at, swap.venue));
    mark_mirrored(swaps);
}

const ZERO_ADDRESS: Address = [0; 20];

/// Whether a transfer moves something that can pay for something.
fn is_payment(transfer: &Transfer) -> bool {
    transfer.standard.is_fungible() && transfer.amount != ZERO
}

/// Whether a party pays a token to that token's own contract.
fn is_fee(side: &Movement, transfer: &Transfer) -> bool {
    side.way == Way::Out && transfer.to == transfer.token && transfer.from != transfer.to
}

/// The swap that the sides of a party make, if they do. They are in the order of the transfers.
fn swap_of(sides: &[Movement], transfers: &[Transfer]) -> Option<InferredSwap> {
    let mut payments = sides.iter().filter(|side| !is_fee(side, &transfers[side.transfer]));
    let (one, two, None) = (payments.next()?, payments.next()?, payments.next()) else { return None };
    let (paid, got) = match (one.way, two.way) {
        (Way::In, Way::Out) => (&transfers[one.transfer], &transfers[two.transfer]),
        (Way::Out, Way::In) => (&transfers[two.transfer], &transfers[one.transfer]),
        _ => return None,
    };
    let fees = || sides.iter().map(|side| (side, &transfers[side.transfer])).filter(|(side, fee)| is_fee(side, fee));
    if paid.token == got.token || fees().any(|(_, fee)| fee.token != got.token) {
        return None;
    }
    let transfer_fee = fees().map(|(_, fee)| U256::from_be_bytes(fee.amount)).reduce(U256::saturating_add);
    Some(InferredSwap {
        at: transfers[two.transfer].at,
        venue: one.party,
        token_sold: paid.token,
        token_bought: got.token,
        amount_sold: paid.amount,
        amount_bought: got.amount,
        transfer_fee: transfer_fee.map(|fee| fee.to_be_bytes()),
        sender: paid.from,
        recipient: got.to,
        mirrored: false,
    })
}

/// Whether the address does not trade for the sender of the transaction who called it.
fn acts_for_itself(swap: &InferredSwap, sent: Sent) -> bool {
    let with_sender = || sent.from.is_some_and(|from| swap.sender == from || swap.recipient == from);
    sent.to != Some(swap.venue) || with_sender()
}

/// Marks the two sides of one trade. Both are at the same transfer, and no third can be.
fn mark_mirrored(swaps: &mut [InferredSwap]) {
    for index in 1..swaps.len() {
        let [one, two] = &mut swaps[index - 1..=index] else { continue };
        let is_mirrored = one.at == two.at
            && [one.sender, one.recipient] == [two.venue; 2]
            && [two.sender, two.recipient] == [one.venue; 2];
        one.mirrored |= is_mirrored;
        two.mirrored |= is_mirrored;
    }
}
