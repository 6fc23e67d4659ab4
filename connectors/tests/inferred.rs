//! Swaps inferred from transfers: against the definition, and against real swaps whose events are hidden.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/logs.rs"]
mod logs;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

use alloy_primitives::hex;
use arrow::array::{Array, AsArray, RecordBatch};
use flate2::read::MultiGzDecoder;
use highwater_connectors::evm::decode::rows::{Decoded, InferredSwap, PoolId, Standard, Transfer};
use highwater_connectors::evm::decode::{Address, DECODERS, Feeds};
use highwater_connectors::evm::ingest::{EvmIngest, IngestSettings};
use highwater_engine::model::evm;
use highwater_engine::source::{ReadRequest, TableRequest};
use proptest::prelude::*;
use serde_json::Value;

use logs::{COIN0, COIN1, NATIVE, POOL, ROUTER, Transaction, USER, number};
use support::shared;

const WALLET: Address = [0x77; 20];
const SENT: [Option<Address>; 2] = [Some(USER), Some(ROUTER)];

/// The definition: every address is asked by itself.
fn definition(decoded: &Decoded, [from, to]: [Option<Address>; 2]) -> Vec<InferredSwap> {
    let moved = |transfer: &&Transfer| {
        !matches!(transfer.standard, Standard::Erc721 | Standard::Erc1155) && transfer.amount != [0; 32]
    };
    let transfers: Vec<Transfer> = decoded.transfers.iter().filter(moved).copied().collect();
    let addresses: BTreeSet<Address> = transfers.iter().flat_map(|transfer| [transfer.from, transfer.to]).collect();
    let mut explained: BTreeSet<Address> = [NATIVE].into_iter().chain(from).collect();
    for swap in &decoded.swaps {
        explained.insert(swap.venue);
        if let PoolId::Address(pool) = swap.pool {
            explained.insert(pool);
        }
    }
    explained.extend(decoded.aggregator_trades.iter().flat_map(|fill| [Some(fill.venue), fill.trader]).flatten());
    explained.extend(transfers.iter().filter(|moved| moved.standard != Standard::Erc20).map(|moved| moved.token));
    let swap_of = |venue: &Address| {
        let paid: Vec<_> = transfers.iter().filter(|moved| moved.to == *venue).collect();
        let got: Vec<_> = transfers.iter().filter(|moved| moved.from == *venue).collect();
        let ([paid], [got]) = (&paid[..], &got[..]) else { return None };
        let calls_for_sender = to == Some(*venue) && from != Some(paid.from) && from != Some(got.to);
        if paid.token == got.token || explained.contains(venue) || calls_for_sender {
            return None;
        }
        Some(InferredSwap {
            at: paid.at.max(got.at),
            venue: *venue,
            token_sold: paid.token,
            token_bought: got.token,
            amount_sold: paid.amount,
            amount_bought: got.amount,
            sender: paid.from,
            recipient: got.to,
            mirrored: false,
        })
    };
    let mut swaps: Vec<_> = addresses.iter().filter_map(swap_of).collect();
    let venues: Vec<Address> = swaps.iter().map(|swap| swap.venue).collect();
    for swap in &mut swaps {
        swap.mirrored = swap.sender == swap.recipient && venues.contains(&swap.sender);
    }
    swaps.sort_by_key(|swap| (swap.at, swap.venue));
    swaps
}

/// What happens in a random transaction, between a few addresses.
#[derive(Clone, Debug)]
enum Act {
    Transfer { token: u8, from: u8, to: u8, amount: u8 },
    Nft { from: u8, to: u8 },
    Wrap { holder: u8, is_deposit: bool },
    Swap { pool: u8 },
    Order { maker: u8 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let party = || 0..9u8;
    let transfer = (0..4u8, party(), party(), 0..6u8).prop_map(|(token, from, to, amount)| Act::Transfer {
        token,
        from,
        to,
        amount,
    });
    let act = prop_oneof![
        16 => transfer,
        1 => (party(), party()).prop_map(|(from, to)| Act::Nft { from, to }),
        2 => (party(), any::<bool>()).prop_map(|(holder, is_deposit)| Act::Wrap { holder, is_deposit }),
        1 => party().prop_map(|pool| Act::Swap { pool }),
        1 => party().prop_map(|maker| Act::Order { maker }),
    ];
    prop::collection::vec(act, 0..14)
}

fn transaction(acts: &[Act]) -> Transaction {
    let party = |party: u8| [party * 0x11; 20];
    let token = |token: u8| [0x80 + token; 20];
    acts.iter().fold(Transaction::default(), |transaction, act| match *act {
        Act::Transfer { token: coin, from, to, amount } => {
            transaction.transfer(token(coin), party(from), party(to), u128::from(amount))
        }
        Act::Nft { from, to } => {
            transaction.log(token(9), "Transfer(address,address,uint256)", &[&party(from), &party(to), &1u128], &[])
        }
        Act::Wrap { holder, is_deposit } => {
            let event = if is_deposit { "Deposit(address,uint256)" } else { "Withdrawal(address,uint256)" };
            // One of the parties is the wrapper.
            transaction.log(party(8), event, &[&party(holder)], &[&3u128])
        }
        Act::Swap { pool } => transaction.swap_v2(party(pool), 3, 2),
        Act::Order { maker } => {
            transaction.log(token(8), "OrderFilled(address,bytes32,uint256)", &[&party(maker)], &[&number(7), &0u128])
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_transfers_give_what_the_definition_says(
        acts in acts(),
        from in prop::option::of(0..9u8),
        to in prop::option::of(0..9u8),
    ) {
        let transaction = transaction(&acts);
        let sent = [from, to].map(|party| party.map(|party| [party * 0x11; 20]));
        let all = transaction.read_sent(sent, Feeds::ALL, &[]);
        prop_assert_eq!(&all.decoded().inferred_swaps, &definition(all.decoded(), sent));
        // Which other tables a job reads changes nothing.
        let alone = transaction.read_sent(sent, Feeds::INFERRED, &[]);
        prop_assert_eq!(&alone.decoded().inferred_swaps, &all.decoded().inferred_swaps);
        let never = transaction.read_sent(sent, Feeds::TRANSFERS.and(Feeds::SWAPS), &[]);
        prop_assert!(never.decoded().inferred_swaps.is_empty());
    }
}

fn inferred(transaction: &Transaction) -> Vec<InferredSwap> {
    transaction.read_sent(SENT, Feeds::ALL, &[]).decoded().inferred_swaps.clone()
}

#[test]
fn a_venue_is_paid_one_token_and_pays_another() {
    let traded = || Transaction::default().transfer(COIN1, POOL, USER, 90).transfer(COIN0, ROUTER, POOL, 100);
    let [swap] = inferred(&traded())[..] else { panic!() };
    assert_eq!((swap.venue, swap.token_sold, swap.token_bought), (POOL, COIN0, COIN1));
    assert_eq!((swap.amount_sold, swap.amount_bought), (number(100), number(90)));
    assert_eq!((swap.sender, swap.recipient, swap.at.log, swap.mirrored), (ROUTER, USER, 1, false));
    let nothing = [
        traded().transfer(COIN0, POOL, WALLET, 1),
        traded().swap_v2(POOL, 100, 90),
        Transaction::default().transfer(COIN0, USER, POOL, 100).transfer(COIN0, POOL, USER, 90),
        Transaction::default().transfer(COIN0, USER, POOL, 100).transfer(COIN1, USER, POOL, 90),
    ];
    assert!(nothing.iter().all(|transaction| inferred(transaction).is_empty()));
    let poisoned = traded().transfer(COIN0, POOL, WALLET, 0);
    assert_eq!(inferred(&poisoned), [swap], "a transfer of nothing is none");
}

#[test]
fn two_that_trade_with_each_other_alone_are_both_told() {
    let traded = Transaction::default().transfer(COIN0, WALLET, POOL, 100).transfer(COIN1, POOL, WALLET, 90);
    let swaps = inferred(&traded);
    assert_eq!(
        swaps.iter().map(|swap| (swap.venue, swap.mirrored)).collect::<Vec<_>>(),
        [(WALLET, true), (POOL, true)]
    );
    assert_eq!((swaps[0].token_sold, swaps[1].token_sold), (COIN1, COIN0));
    // The caller's own contract is none of the two.
    let called = Transaction::default().transfer(COIN0, ROUTER, POOL, 100).transfer(COIN1, POOL, ROUTER, 90);
    assert_eq!(inferred(&called).iter().map(|swap| (swap.venue, swap.mirrored)).collect::<Vec<_>>(), [(POOL, false)]);
    // A venue that the sender calls and pays is one.
    let direct = Transaction::default().transfer(COIN0, USER, ROUTER, 100).transfer(COIN1, ROUTER, USER, 90);
    assert_eq!(inferred(&direct).iter().map(|swap| swap.venue).collect::<Vec<_>>(), [ROUTER]);
}
