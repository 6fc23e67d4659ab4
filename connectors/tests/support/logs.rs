//! Transactions made log by log, encoded from the signatures of their events.

#![allow(dead_code, reason = "every suite uses a part of this")]

use alloy_primitives::{U256, keccak256};
use highwater_connectors::evm::decode::rows::{Liquidation, Swap};
use highwater_connectors::evm::decode::transaction::LogReader;
use highwater_connectors::evm::decode::{Address, Feeds, Word};
use highwater_connectors::evm::field::Field;
use highwater_connectors::evm::json::{Log, Receipt, Topics};

pub(crate) const POOL: Address = [0x99; 20];
pub(crate) const USER: Address = [0x55; 20];
pub(crate) const ROUTER: Address = [0x66; 20];
// In the order of their addresses.
pub(crate) const COIN0: Address = [0x11; 20];
pub(crate) const COIN1: Address = [0x22; 20];
pub(crate) const COIN2: Address = [0x33; 20];
pub(crate) const NATIVE: Address = [0; 20];

/// A value of a log.
pub(crate) trait Value {
    fn word(&self) -> Word;
}

impl Value for u128 {
    fn word(&self) -> Word {
        U256::from(*self).to_be_bytes()
    }
}

impl Value for i128 {
    fn word(&self) -> Word {
        let size = U256::from(self.unsigned_abs());
        if *self < 0 { size.wrapping_neg() } else { size }.to_be_bytes()
    }
}

impl Value for Address {
    fn word(&self) -> Word {
        let mut word = [0; 32];
        word[12..].copy_from_slice(self);
        word
    }
}

impl Value for Word {
    fn word(&self) -> Word {
        *self
    }
}

pub(crate) fn number(number: u128) -> Word {
    number.word()
}

pub(crate) struct OwnedLog {
    pub(crate) address: Address,
    pub(crate) topics: Vec<Word>,
    pub(crate) data: Vec<u8>,
}

/// The logs of one transaction.
#[derive(Default)]
pub(crate) struct Transaction(pub(crate) Vec<OwnedLog>);

impl Transaction {
    pub(crate) fn log(
        mut self,
        address: Address,
        signature: &str,
        indexed: &[&dyn Value],
        data: &[&dyn Value],
    ) -> Self {
        let topics = std::iter::once(keccak256(signature).0).chain(indexed.iter().map(|value| value.word()));
        let data = data.iter().flat_map(|value| value.word());
        self.0.push(OwnedLog { address, topics: topics.collect(), data: data.collect() });
        self
    }

    pub(crate) fn transfer(self, token: Address, from: Address, to: Address, amount: u128) -> Self {
        self.log(token, "Transfer(address,address,uint256)", &[&from, &to], &[&amount])
    }

    /// A swap of a V2 pair that paid out coin 1 for coin 0.
    pub(crate) fn swap_v2(self, pool: Address, paid: u128, got: u128) -> Self {
        let signature = "Swap(address,uint256,uint256,uint256,uint256,address)";
        self.log(pool, signature, &[&ROUTER, &USER], &[&paid, &0u128, &0u128, &got])
    }

    pub(crate) fn read(&self, factories: &[Address]) -> LogReader {
        self.read_sent([None; 2], Feeds::ALL, factories)
    }

    /// Reads the logs of a transaction that was sent by the first of two addresses to the second.
    pub(crate) fn read_sent(&self, sent: [Option<Address>; 2], wanted: Feeds, factories: &[Address]) -> LogReader {
        let logs = self.0.iter().map(|log| {
            let topics: Vec<_> = log.topics.iter().map(|topic| Field::Bytes(topic)).collect();
            let (address, data) = (Field::Bytes(&log.address), Field::Bytes(&log.data));
            Log { address, data, topics: Topics::new(&topics), ..Log::default() }
        });
        let [from, to] =
            sent.each_ref().map(|address| address.as_ref().map_or(Field::Absent, |address| Field::Bytes(address)));
        let receipt = Receipt { from, to, logs: logs.collect(), ..Receipt::default() };
        let mut reader = LogReader::new(wanted, factories.to_vec());
        reader.read([&receipt]);
        reader
    }

    pub(crate) fn swaps(&self) -> Vec<Swap> {
        let mut reader = self.read(&[]);
        assert_eq!(reader.take_skipped(), None);
        reader.decoded().swaps.clone()
    }

    pub(crate) fn swap(&self) -> Swap {
        let swaps = self.swaps();
        let [swap] = swaps[..] else { panic!("{swaps:?}") };
        swap
    }

    pub(crate) fn liquidation(&self) -> Liquidation {
        let mut reader = self.read(&[]);
        assert_eq!(reader.take_skipped(), None);
        let [liquidation] = reader.decoded().liquidations[..] else { panic!() };
        liquidation
    }
}
