//! Routes through Uniswap V4's pools, whose coins in between move in no transfer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/logs.rs"]
mod logs;

use alloy_primitives::address;
use highwater_connectors::evm::decode::rows::Trust;
use highwater_connectors::evm::decode::{Address, Word};
use logs::{COIN0, COIN1, COIN2, ROUTER, Transaction, USER};

const MANAGER: Address = address!("000000000004444c5dc75cb358380d2e3de08a90").0.0;

fn hop(transaction: Transaction, id: Word, amounts: [i128; 2]) -> Transaction {
    let signature = "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)";
    let state = [1u128 << 96, 7, 0, 0];
    let [price, liquidity, tick, fee] = &state;
    transaction.log(MANAGER, signature, &[&id, &ROUTER], &[&amounts[0], &amounts[1], price, liquidity, tick, fee])
}

fn named(transaction: &Transaction) -> Vec<[Option<Address>; 2]> {
    let swaps = transaction.swaps();
    swaps.iter().map(|swap| [swap.token_sold, swap.token_bought]).collect()
}

/// The first pool's coins are moved whole elsewhere in the transaction, so its pair is known; the second gets the
/// coin between from it, and its own from what was paid out.
#[test]
fn a_coin_in_between_is_that_of_the_hop_before() {
    let first = || hop(Transaction::default(), [1; 32], [-100, 90]);
    let paid =
        |transaction: Transaction| transaction.transfer(COIN0, USER, MANAGER, 100).transfer(COIN2, MANAGER, USER, 80);
    // Nobody tells the coin between: both hops have an open end.
    assert_eq!(named(&paid(hop(first(), [2; 32], [-90, 80]))), [[None; 2]; 2]);
    // A hop back into a coin that was paid out in that amount closes it.
    let known = |transaction: Transaction| transaction.transfer(COIN1, MANAGER, USER, 90);
    let transaction = known(paid(hop(first(), [2; 32], [-90, 80])));
    assert_eq!(named(&transaction), [[Some(COIN0), Some(COIN1)], [Some(COIN1), Some(COIN2)]]);
    let trust: Vec<_> = transaction.swaps().iter().map(|swap| swap.trust).collect();
    assert_eq!(trust, [Trust::Balanced, Trust::Unverified]);
    // Other amounts are no link, and coins out of the order of the pool are none.
    assert_eq!(named(&known(paid(hop(first(), [2; 32], [-91, 80]))))[1], [None; 2]);
    assert_eq!(named(&known(paid(hop(first(), [2; 32], [80, -90]))))[1], [None; 2]);
    // Two coins paid out in one amount leave a choice.
    let open = known(paid(hop(first(), [2; 32], [-90, 80]))).transfer([0x44; 20], MANAGER, USER, 80);
    assert_eq!(named(&open)[1], [None; 2]);
}
