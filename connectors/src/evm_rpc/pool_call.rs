//! One question about a pool: which contract is called, and what the answer means.
//!
//! Coins of a pool do not change, so a node that has dropped the state of the block is asked for its newest.

use std::fmt::Write as _;

use alloy_primitives::{Address, U256, address, hex};
use highwater_engine::model::BlockHash;

use super::call::ErrorKind;
use super::params;
use super::pool::{Pool, Wish};
use crate::evm::decode::called::{Question, Way, is_key_of};
use crate::evm::decode::rows::PoolId;
use crate::evm::field::Field;

/// The method.
pub(super) const METHOD: &str = "eth_call";

/// Requests for one call, failures included.
const ATTEMPTS: usize = 3;

/// The contract that keeps the keys of Uniswap's V4 pools; their own contract does not.
const POSITION_MANAGER: Address = address!("bd216513d74c8cf14cf4747e6aaa6420ff64ee9e");

const TOKEN0: [u8; 4] = hex!("0dfe1681");
const TOKEN1: [u8; 4] = hex!("d21220a7");
const FACTORY: [u8; 4] = hex!("c45a0155");
const FEE: [u8; 4] = hex!("ddca3f43");
/// `coins(uint256)`.
const COINS: [u8; 4] = hex!("c6610657");
/// `coins(int128)`, of Curve's first pools.
const COINS_SIGNED: [u8; 4] = hex!("23746eb8");
/// `poolKeys(bytes25)`.
const POOL_KEYS: [u8; 4] = hex!("86b6be7d");
/// `getPair(address,address)`.
const GET_PAIR: [u8; 4] = hex!("e6a43905");
/// `getPool(address,address,uint24)`.
const GET_POOL: [u8; 4] = hex!("1698ee82");

type Word = [u8; 32];

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The contract has none, and will not have one.
    Never,
    /// Nobody could be asked.
    NotNow,
}

/// Who is asked about a pool, and as of which block.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) pool: &'a Pool,
    /// Who gave the block.
    pub(super) endpoint: usize,
    pub(super) block: BlockHash,
    /// Factories whose own word about a pool counts.
    pub(super) factories: &'a [[u8; 20]],
}

impl Asker<'_> {
    /// The answer to a question, as [`PoolAnswer`](crate::evm::json::PoolAnswer) is written.
    pub(super) async fn answer(self, question: &Question) -> Result<String, Refusal> {
        let pool = match question.pool {
            PoolId::Address(address) => Address(address.into()),
            PoolId::Id(id) => return self.key(question, &id).await,
        };
        if question.way == Way::Coins {
            let [low, high] = question.indexes;
            let coins = [self.coin(pool, low).await?, self.coin(pool, high).await?];
            return if coins[0] == coins[1] { Err(Refusal::Never) } else { Ok(write(question, coins, "")) };
        }
        let tokens = [self.address(pool, &TOKEN0).await?, self.address(pool, &TOKEN1).await?];
        if tokens[0] >= tokens[1] || tokens[0].is_zero() {
            return Err(Refusal::Never);
        }
        let mut more = String::new();
        let fee = if question.way == Way::PairWithFee { Some(self.word(pool, &FEE).await?) } else { None };
        if let Some(fee) = fee.and_then(|fee| u32::try_from(U256::from_be_bytes(fee)).ok()) {
            write!(more, ",\"fee_pips\":{fee}").expect("writing to memory does not fail");
        }
        match self.address(pool, &FACTORY).await {
            Ok(factory) => {
                let confirmed =
                    self.factories.contains(&factory.0.0) && self.confirms(factory, pool, tokens, fee).await?;
                write!(more, ",\"factory\":\"{factory:?}\",\"confirmed\":{confirmed}")
                    .expect("writing to memory does not fail");
            }
            Err(Refusal::Never) => {}
            Err(Refusal::NotNow) => return Err(Refusal::NotNow),
        }
        Ok(write(question, tokens, &more))
    }

    /// Whether a factory says that this is its pool of these coins.
    async fn confirms(
        self,
        factory: Address,
        pool: Address,
        [token0, token1]: [Address; 2],
        fee: Option<Word>,
    ) -> Result<bool, Refusal> {
        let selector = if fee.is_some() { GET_POOL } else { GET_PAIR };
        let mut data = selector.to_vec();
        data.extend(token0.into_word().0);
        data.extend(token1.into_word().0);
        data.extend(fee.unwrap_or_default().iter().take(if fee.is_some() { 32 } else { 0 }));
        match self.address(factory, &data).await {
            Ok(named) => Ok(named == pool),
            Err(Refusal::Never) => Ok(false),
            Err(Refusal::NotNow) => Err(Refusal::NotNow),
        }
    }

    /// A coin of a Curve pool; the native coin is the zero address, as everywhere.
    async fn coin(self, pool: Address, index: u8) -> Result<Address, Refusal> {
        let data = |selector: [u8; 4]| [&selector[..], &U256::from(index).to_be_bytes::<32>()].concat();
        let coin = match self.address(pool, &data(COINS)).await {
            Err(Refusal::Never) => self.address(pool, &data(COINS_SIGNED)).await?,
            answer => answer?,
        };
        if coin.is_zero() {
            return Err(Refusal::Never);
        }
        Ok(if coin.0.0 == [0xee; 20] { Address::ZERO } else { coin })
    }

    /// The key of a V4 pool. One whose hash is not the id is no answer, and somebody else may have the right one.
    async fn key(self, question: &Question, id: &Word) -> Result<String, Refusal> {
        let mut data = POOL_KEYS.to_vec();
        data.extend(&id[..25]);
        data.extend([0; 7]);
        let words = self.words::<5>(POSITION_MANAGER, &data).await?;
        let [currency0, currency1, fee, spacing, hooks] = words;
        let [currency0, currency1, hooks] = [currency0, currency1, hooks].map(|word| address_in(&word));
        let small = |word: Word| u32::try_from(U256::from_be_bytes(word)).map_err(|_| Refusal::Never);
        let (currency0, currency1, hooks) = (currency0?, currency1?, hooks?);
        if currency0 >= currency1 {
            return Err(Refusal::Never);
        }
        let (fee, spacing) = (small(fee)?, small(spacing)?);
        if !is_key_of(id, [&currency0.0.0, &currency1.0.0], (fee, spacing), &hooks.0.0) {
            return Err(Refusal::NotNow);
        }
        let more = format!(",\"fee_pips\":{fee},\"tick_spacing\":{spacing},\"hooks\":\"{hooks:?}\"");
        Ok(write(question, [currency0, currency1], &more))
    }

    async fn address(self, to: Address, data: &[u8]) -> Result<Address, Refusal> {
        address_in(&self.word(to, data).await?)
    }

    async fn word(self, to: Address, data: &[u8]) -> Result<Word, Refusal> {
        let [word] = self.words::<1>(to, data).await?;
        Ok(word)
    }

    /// Calls a contract. Another length than `N` words is no answer.
    async fn words<const N: usize>(self, to: Address, data: &[u8]) -> Result<[Word; N], Refusal> {
        let mut wish = Wish::prefer(self.endpoint);
        let mut block = format!("{{\"blockHash\":\"{}\"}}", self.block);
        for _ in 0..ATTEMPTS {
            let call = format!("[{{\"to\":\"{to:?}\",\"data\":\"{}\"}},{block}]", hex::encode_prefixed(data));
            // It can be asked only of endpoints of another chain; the block itself would have failed before.
            let Ok(at) = self.pool.choose(&wish).await else { return Err(Refusal::NotNow) };
            match self.pool.ask(at, METHOD, &params(&call)).await {
                Ok(text) => return words_in(text.get()).ok_or(Refusal::Never),
                Err(error) if error.is_revert() => return Err(Refusal::Never),
                // The state of the block is gone, or the node knows blocks by number only.
                Err(error) if matches!(error.kind, ErrorKind::JsonRpc | ErrorKind::NullResult) => {
                    "\"latest\"".clone_into(&mut block);
                }
                Err(_) => wish.avoid.push(at),
            }
        }
        Err(Refusal::NotNow)
    }
}

fn words_in<const N: usize>(text: &str) -> Option<[Word; N]> {
    let text: &str = serde_json::from_str(text).ok()?;
    let mut bytes = Vec::with_capacity(N * 32);
    Field::Hex(text).append_to(&mut bytes).ok()?;
    let (words, []) = bytes.as_chunks::<32>() else { return None };
    words.try_into().ok()
}

fn address_in(word: &Word) -> Result<Address, Refusal> {
    if word[..12] == [0; 12] { Ok(Address::from_slice(&word[12..])) } else { Err(Refusal::Never) }
}

fn write(question: &Question, [token0, token1]: [Address; 2], more: &str) -> String {
    let (venue, pool) = (hex::encode_prefixed(question.venue), hex::encode_prefixed(question.pool.as_slice()));
    let [index0, index1] = question.indexes;
    format!(
        "{{\"venue\":\"{venue}\",\"pool\":\"{pool}\",\"index0\":{index0},\"index1\":{index1},\"token0\":\"{token0:?}\",\"token1\":\"{token1:?}\"{more}}}"
    )
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn selectors_are_the_hashes_of_the_signatures() {
        for (selector, signature) in [
            (TOKEN0, "token0()"),
            (TOKEN1, "token1()"),
            (FACTORY, "factory()"),
            (FEE, "fee()"),
            (COINS, "coins(uint256)"),
            (COINS_SIGNED, "coins(int128)"),
            (POOL_KEYS, "poolKeys(bytes25)"),
            (GET_PAIR, "getPair(address,address)"),
            (GET_POOL, "getPool(address,address,uint24)"),
        ] {
            assert_eq!(keccak256(signature)[..4], selector, "{signature}");
        }
    }

    #[test]
    fn an_answer_of_another_length_is_none() {
        let word = "0".repeat(64);
        assert_eq!(words_in::<1>(&format!("\"0x{word}\"")), Some([[0; 32]]));
        for text in ["\"0x\"", "\"\"", "null", "7", &format!("\"0x{word}{word}\""), &format!("\"{word}\"")] {
            assert_eq!(words_in::<1>(text), None, "{text}");
        }
    }
}
