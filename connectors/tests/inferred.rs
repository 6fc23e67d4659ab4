//! Swaps inferred from transfers: against the definition, and against real swaps whose events are hidden.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/logs.rs"]
mod logs;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

use alloy_primitives::{U256, hex};
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
        let sent = transfers.iter().filter(|moved| moved.from == *venue);
        let (fees, got): (Vec<&Transfer>, Vec<&Transfer>) =
            sent.partition(|moved| moved.to == moved.token && moved.to != *venue);
        let ([paid], [got]) = (&paid[..], &got[..]) else { return None };
        let calls_for_sender = to == Some(*venue) && from != Some(paid.from) && from != Some(got.to);
        let of_other = fees.iter().any(|fee| fee.token != got.token);
        if paid.token == got.token || of_other || explained.contains(venue) || calls_for_sender {
            return None;
        }
        Some(InferredSwap {
            at: paid.at.max(got.at),
            venue: *venue,
            token_sold: paid.token,
            token_bought: got.token,
            amount_sold: paid.amount,
            amount_bought: got.amount,
            transfer_fee: (!fees.is_empty()).then(|| {
                let amounts = fees.iter().map(|fee| U256::from_be_bytes(fee.amount));
                amounts.fold(U256::ZERO, |sum, amount| sum + amount).to_be_bytes()
            }),
            sender: paid.from,
            recipient: got.to,
            mirrored: false,
        })
    };
    let mut swaps: Vec<_> = addresses.iter().filter_map(swap_of).collect();
    let parties: Vec<_> = swaps.iter().map(|swap| [swap.sender, swap.venue, swap.recipient]).collect();
    for swap in &mut swaps {
        let [one, other] = [swap.venue, swap.sender];
        swap.mirrored = swap.recipient == other && parties.contains(&[one, other, one]);
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
    // Some tokens are among the parties: they take fees.
    let token = |token: u8| [if token < 2 { 0x77 + 0x11 * token } else { 0x90 + token }; 20];
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
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

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
    let taxed = traded().transfer(COIN1, POOL, COIN1, 7).transfer(COIN1, POOL, COIN1, 1);
    assert_eq!(inferred(&taxed), [InferredSwap { transfer_fee: Some(number(8)), ..swap }]);
    assert!(inferred(&traded().transfer(COIN0, POOL, COIN0, 7)).is_empty(), "nobody takes a fee of what is paid in");
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

/// Rows of `inferred_swaps` and of `dex_swaps` of one or several blocks.
struct Blocks {
    inferred: RecordBatch,
    events: RecordBatch,
}

fn read(blocks: &[(String, String)]) -> Blocks {
    let wanted = ["inferred_swaps", "dex_swaps"].map(|name| {
        let columns = evm::schema(name).unwrap().fields().len();
        TableRequest { name: name.to_owned(), columns: (0..columns).collect() }
    });
    let request = ReadRequest { tables: wanted.to_vec(), ..ReadRequest::default() };
    let mut ingest = EvmIngest::new(&request, IngestSettings { validate: false, ..IngestSettings::default() }).unwrap();
    for (block, receipts) in blocks {
        ingest.push(&"the test", block, Some(receipts), None).unwrap();
    }
    let [inferred, events] = &ingest.finish().unwrap().tables[..] else { panic!() };
    Blocks { inferred: inferred.batch.clone(), events: events.batch.clone() }
}

fn real(folder: &str) -> Option<Vec<(String, String)>> {
    let folder = shared("data/evm")?.join(folder);
    let lines = |name: &str| {
        BufReader::new(MultiGzDecoder::new(File::open(folder.join(name)).unwrap())).lines().map(Result::unwrap)
    };
    Some(lines("blocks.jsonl.gz").zip(lines("receipts.jsonl.gz")).collect())
}

/// The receipts without the logs of swaps.
fn hide_swaps(receipts: &str) -> String {
    let feeds_swaps: BTreeSet<String> = DECODERS
        .iter()
        .filter(|decoder| decoder.feeds.meets(Feeds::SWAPS))
        .map(|decoder| decoder.topic0.to_string())
        .collect();
    let mut receipts: Value = serde_json::from_str(receipts).unwrap();
    for receipt in receipts.as_array_mut().unwrap() {
        let is_kept = |log: &Value| log["topics"][0].as_str().is_none_or(|topic| !feeds_swaps.contains(topic));
        receipt["logs"].as_array_mut().unwrap().retain(is_kept);
    }
    receipts.to_string()
}

fn hex_of(batch: &RecordBatch, column: &str, row: usize) -> String {
    let array = batch.column_by_name(column).unwrap();
    if array.is_null(row) {
        return "-".to_owned();
    }
    match array.as_fixed_size_binary_opt() {
        Some(array) => hex::encode(array.value(row)),
        None => hex::encode(array.as_binary::<i32>().value(row)),
    }
}

/// The values of a row's columns, each as hexadecimal digits.
fn values<const N: usize>(batch: &RecordBatch, columns: [&str; N], row: usize) -> [String; N] {
    columns.map(|column| hex_of(batch, column, row))
}

/// What inference finds of real swaps when their events are hidden.
#[derive(Debug, Default)]
struct Score {
    /// Pools that swapped, each once a transaction.
    pools: usize,
    /// Those that swapped once in it.
    single: usize,
    /// Those found.
    found: usize,
    /// Those found with the tokens and amounts of the event.
    exact: usize,
    /// Rows in transactions of which nothing is inferred while the events are there.
    told: usize,
    /// Rows among these whose address is neither a pool nor holds those that swapped.
    wrong: usize,
    /// Rows while the events are there: market makers that quote off the chain, Bancor, vaults.
    beside_events: usize,
}

const TRADE: [&str; 4] = ["token_sold", "token_bought", "amount_sold", "amount_bought"];

/// A row of `inferred_swaps` as the pool tells it, which knows nothing of the coin's fee.
fn trade(inferred: &RecordBatch, row: usize) -> [String; 4] {
    let mut trade = values(inferred, TRADE, row);
    let number = |digits: &str| U256::from_str_radix(digits, 16).unwrap();
    let fee = hex_of(inferred, "transfer_fee", row);
    if fee != "-" {
        trade[3] = format!("{:064x}", number(&trade[3]) + number(&fee));
    }
    trade
}

fn score(folder: &str) -> Option<Score> {
    let blocks = real(folder)?;
    let shown = read(&blocks);
    let hidden: Vec<_> = blocks.into_iter().map(|(block, receipts)| (block, hide_swaps(&receipts))).collect();
    let hidden = read(&hidden).inferred;
    let mut score = Score { beside_events: shown.inferred.num_rows(), ..Score::default() };
    let mut pools: BTreeMap<[String; 2], Vec<[String; 4]>> = BTreeMap::new();
    let mut vaults: BTreeSet<[String; 2]> = BTreeSet::new();
    for row in 0..shown.events.num_rows() {
        let [transaction, pool, venue] = values(&shown.events, ["transaction_hash", "pool", "venue"], row);
        if pool == venue {
            pools.entry([transaction, pool]).or_default().push(values(&shown.events, TRADE, row));
        } else {
            vaults.insert([transaction, venue]);
        }
    }
    let open = |row| hex_of(&shown.inferred, "transaction_hash", row);
    let open: BTreeSet<String> = (0..shown.inferred.num_rows()).map(open).collect();
    score.pools = pools.len();
    score.single = pools.values().filter(|swaps| swaps.len() == 1).count();
    for row in 0..hidden.num_rows() {
        let key @ [transaction, _] = &values(&hidden, ["transaction_hash", "venue"], row);
        let swaps = pools.get(key);
        score.found += usize::from(swaps.is_some());
        score.exact += usize::from(swaps.is_some_and(|swaps| *swaps == [trade(&hidden, row)]));
        if !open.contains(transaction) {
            score.told += 1;
            score.wrong += usize::from(swaps.is_none() && !vaults.contains(key));
        }
    }
    Some(score)
}

#[test]
fn hidden_swaps_are_found_by_their_transfers() {
    for (folder, unknown) in [("mainnet-17686110-17686121", 37), ("mainnet-mev-2021", 14), ("mainnet-forks", 14)] {
        let Some(score) = score(folder) else { return };
        println!("{folder}: {score:?}");
        let Score { pools, single, found, exact, told, wrong, beside_events } = score;
        assert!(single > 100 && found <= pools && found * 100 >= pools * 95, "{folder}: {found} of {pools}");
        assert!(exact * 100 >= single * 95, "{folder}: {exact} of {single}");
        assert!(wrong * 100 <= told, "{folder}: {wrong} of {told}");
        assert_eq!(beside_events, unknown, "{folder}");
    }
}
