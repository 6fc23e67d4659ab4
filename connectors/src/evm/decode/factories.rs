//! Which pools can be believed: factories known by their address, and pools whose address follows from
//! such a factory and their tokens (EIP-1014, `CREATE2`).
//!
//! Every constant below was seen to give the addresses of pools in real blocks.

use alloy_primitives::{U256, address, b256, keccak256};

use super::rows::{Family, PoolId, Venue};
use super::word::{Address, NATIVE, Word, word_of};

/// A contract that announces pools, or holds them all.
pub(crate) struct Factory {
    /// Its address.
    pub(super) address: Address,
    /// What its pools are called.
    pub(super) venue_name: Venue,
    /// The fee of its pools in millionths, if they all have one.
    pub(super) fee_pips: Option<u32>,
    /// Hash of the code that creates a pool; none where pools are no contracts.
    init_code_hash: Option<Word>,
    family: Family,
}

const fn venue(protocol: &'static str, version: &'static str) -> Venue {
    Venue { protocol, version }
}

const V3_POOL: Word = b256!("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54").0;

/// Uniswap V4's contract of all pools.
pub(super) const POOL_MANAGER: Address = address!("000000000004444c5dc75cb358380d2e3de08a90").0.0;

const FACTORIES: &[Factory] = &[
    Factory {
        address: address!("5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f").0.0,
        venue_name: venue("uniswap", "v2"),
        fee_pips: Some(3_000),
        init_code_hash: Some(b256!("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f").0),
        family: Family::V2,
    },
    Factory {
        address: address!("c0aee478e3658e2610c5f7a4a2e1777ce9e4f2ac").0.0,
        venue_name: venue("sushiswap", "v2"),
        fee_pips: Some(3_000),
        init_code_hash: Some(b256!("e18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303").0),
        family: Family::V2,
    },
    Factory {
        address: address!("115934131916c8b277dd010ee02de363c09d037c").0.0,
        venue_name: venue("shibaswap", "v2"),
        fee_pips: None,
        init_code_hash: Some(b256!("65d1a3b1e46c6e4f1be1ad5f99ef14dc488ae0549dc97db9b30afe2241ce1c7a").0),
        family: Family::V2,
    },
    Factory {
        address: address!("1f98431c8ad98523631ae4a59f267346ea31f984").0.0,
        venue_name: venue("uniswap", "v3"),
        fee_pips: None,
        init_code_hash: Some(V3_POOL),
        family: Family::V3,
    },
    Factory {
        address: address!("baceb8ec6b9355dfc0269c18bac9d6e2bdc29c4f").0.0,
        venue_name: venue("sushiswap", "v3"),
        fee_pips: None,
        init_code_hash: Some(V3_POOL),
        family: Family::V3,
    },
    // PancakeSwap's pools are created by a deployer that its factory calls.
    Factory {
        address: address!("41ff9aa7e16b8b1a8a8dc4f0efacd93d02d071c9").0.0,
        venue_name: venue("pancakeswap", "v3"),
        fee_pips: None,
        init_code_hash: Some(b256!("6ce8eb472fa82df5469c6ab6d485f17c3ad13c8cd7af59b3d4a8026c5ce0f7e2").0),
        family: Family::V3,
    },
    Factory {
        address: address!("ba12222222228d8ba445958a75a0704d566bf2c8").0.0,
        venue_name: venue("balancer", "v2"),
        fee_pips: None,
        init_code_hash: None,
        family: Family::Told,
    },
    Factory {
        address: address!("def1c0ded9bec7f1a1670819833240f027b25eff").0.0,
        venue_name: venue("0x", "v4"),
        fee_pips: None,
        init_code_hash: None,
        family: Family::Told,
    },
    Factory {
        address: POOL_MANAGER,
        venue_name: venue("uniswap", "v4"),
        fee_pips: None,
        init_code_hash: None,
        family: Family::V4,
    },
];

/// Fees of V3 pools in millionths.
const V3_FEES: [u32; 5] = [100, 500, 2_500, 3_000, 10_000];

/// Usual fees of V4 pools in millionths and the tick spacings that go with them.
const V4_FEES: [(u32, u8); 4] = [(100, 1), (500, 10), (3_000, 60), (10_000, 200)];

/// The known factory at an address.
pub(super) fn named(address: &Address) -> Option<&'static Factory> {
    FACTORIES.iter().find(|factory| factory.address == *address)
}

/// What the name of a pool says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Derived {
    pub(super) venue_name: Venue,
    pub(super) fee_pips: Option<u32>,
}

/// Whose pool it is, if its name follows from a known or `trusted` factory and these tokens, the smaller
/// first. `event_fee` is the fee the event told, for V4. About thirty hashes at most.
pub(super) fn derive(
    family: Family,
    pool: &PoolId,
    [token0, token1]: [&Address; 2],
    event_fee: Option<u32>,
    trusted: &[Address],
) -> Option<Derived> {
    match (family, pool) {
        (Family::V2, PoolId::Address(pool)) => {
            let mut tokens = [0; 40];
            tokens[..20].copy_from_slice(token0);
            tokens[20..].copy_from_slice(token1);
            deployer(family, pool, &keccak256(tokens).0, trusted)
        }
        (Family::V3, PoolId::Address(pool)) => V3_FEES.iter().find_map(|fee| {
            let salt = keccak256([word_of(token0), word_of(token1), number(*fee)].as_flattened()).0;
            let derived = deployer(family, pool, &salt, trusted)?;
            Some(Derived { fee_pips: Some(*fee), ..derived })
        }),
        (Family::V4, PoolId::Id(id)) => {
            let usual = V4_FEES.iter().copied();
            let told = event_fee.into_iter().flat_map(|fee| V4_FEES.map(|(_, spacing)| (fee, spacing)));
            let is_key = |fee, spacing| id_of_key([token0, token1], fee, u32::from(spacing), &NATIVE) == *id;
            let (fee, _) = usual.chain(told).find(|(fee, spacing)| is_key(*fee, *spacing))?;
            Some(Derived { venue_name: venue("uniswap", "v4"), fee_pips: event_fee.or(Some(fee)) })
        }
        _ => None,
    }
}

/// The id of a V4 pool: the hash of its key.
pub(super) fn id_of_key([currency0, currency1]: [&Address; 2], fee: u32, tick_spacing: u32, hooks: &Address) -> Word {
    let key = [word_of(currency0), word_of(currency1), number(fee), number(tick_spacing), word_of(hooks)];
    keccak256(key.as_flattened()).0
}

fn number(number: u32) -> Word {
    U256::from(number).to_be_bytes()
}

/// The factory that created `pool`. Trusted ones are taken to create what Uniswap's do.
fn deployer(family: Family, pool: &Address, salt: &Word, trusted: &[Address]) -> Option<Derived> {
    let of_family = || FACTORIES.iter().filter(|factory| factory.family == family);
    let known = of_family().find_map(|factory| {
        let derived = Derived { venue_name: factory.venue_name, fee_pips: factory.fee_pips };
        creates(&factory.address, salt, &factory.init_code_hash?, pool).then_some(derived)
    });
    known.or_else(|| {
        let original = of_family().next()?;
        let code = original.init_code_hash?;
        let derived = Derived { venue_name: original.venue_name, fee_pips: None };
        trusted.iter().any(|factory| creates(factory, salt, &code, pool)).then_some(derived)
    })
}

fn creates(factory: &Address, salt: &Word, init_code_hash: &Word, pool: &Address) -> bool {
    let mut text = [0xff; 85];
    text[1..21].copy_from_slice(factory);
    text[21..53].copy_from_slice(salt);
    text[53..].copy_from_slice(init_code_hash);
    keccak256(text)[12..] == *pool
}

#[cfg(test)]
mod tests {
    use super::*;

    const USDC: Address = address!("a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48").0.0;
    const WETH: Address = address!("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2").0.0;

    #[test]
    fn the_pools_everybody_knows() {
        let of = |family, pool: Address| derive(family, &PoolId::Address(pool), [&USDC, &WETH], None, &[]);
        let pair = address!("b4e16d0168e52d35cacd2c6185b44281ec28c9dc").0.0;
        let sushi = address!("397ff1542f962076d0bfe58ea045ffa2d347aca0").0.0;
        let pool = address!("88e6a0c2ddd26feeb64f039a2c41296fcb3f5640").0.0;
        assert_eq!(of(Family::V2, pair).map(|pool| pool.venue_name), Some(venue("uniswap", "v2")));
        assert_eq!(of(Family::V2, sushi).map(|pool| pool.venue_name), Some(venue("sushiswap", "v2")));
        assert_eq!(of(Family::V3, pool), Some(Derived { venue_name: venue("uniswap", "v3"), fee_pips: Some(500) }));
        assert_eq!(of(Family::V3, pair), None);
        assert_eq!(derive(Family::V2, &PoolId::Address(pair), [&WETH, &USDC], None, &[]), None);
    }

    #[test]
    fn ids_of_v4() {
        // The pool of ether and USDC for 0.05 %: abi.encode(0, USDC, 500, 10, 0).
        let id = b256!("21c67e77068de97969ba93d4aab21826d33ca12bb9f565d8496e8fda8a82ca27").0;
        let derived = derive(Family::V4, &PoolId::Id(id), [&[0; 20], &USDC], Some(500), &[]).expect("a usual pool");
        assert_eq!(derived.fee_pips, Some(500));
        assert_eq!(derive(Family::V4, &PoolId::Id(id), [&[0; 20], &WETH], Some(500), &[]), None);
    }
}
