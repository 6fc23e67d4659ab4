//! Pools that prove themselves: their address follows from their factory and their coins.
//!
//! Factories that deploy with CREATE2 (EIP-1014) put a pool at
//! `keccak256(0xff ++ factory ++ salt ++ keccak256(init code))[12..]`, the salt being a hash of the coins
//! and, since Uniswap V3, of the fee. No other contract can stand there, so a pool whose coins are known
//! is verified without having seen it made: a run that starts at the head knows no announcements.

use alloy_primitives::{Address as EvmAddress, B256, address, b256, keccak256};

use super::registry::PoolKey;
use crate::mev::Address;

/// How a factory makes the salt.
#[derive(Clone, Copy)]
enum Salt {
    /// `keccak256(abi.encodePacked(token0, token1))`.
    Pair,
    /// `keccak256(abi.encode(token0, token1, fee))` with any of these fees, hundredths of a basis point.
    PairAndFee(&'static [u32]),
}

struct Deployer {
    address: EvmAddress,
    init_code_hash: B256,
    salt: Salt,
}

/// The deployers of Ethereum's main network; their addresses are taken on no other network by strangers,
/// because an address is the hash of its deployer's key and nonce.
const DEPLOYERS: [Deployer; 4] = [
    // Uniswap V2: UniswapV2Factory; the hash stands in UniswapV2Library.pairFor.
    Deployer {
        address: address!("0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"),
        init_code_hash: b256!("0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"),
        salt: Salt::Pair,
    },
    // SushiSwap V2: UniswapV2Factory of Sushi; the hash stands in its UniswapV2Library.
    Deployer {
        address: address!("0xC0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac"),
        init_code_hash: b256!("0xe18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303"),
        salt: Salt::Pair,
    },
    // Uniswap V3: UniswapV3Factory; the hash stands in PoolAddress of v3-periphery. Fees are those enabled.
    Deployer {
        address: address!("0x1F98431c8aD98523631AE4a59f267346ea31F984"),
        init_code_hash: b256!("0xe34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"),
        salt: Salt::PairAndFee(&[500, 3000, 10_000, 100]),
    },
    // PancakeSwap V3: PancakeV3PoolDeployer; the hash stands in PoolAddress of its v3-periphery.
    Deployer {
        address: address!("0x41ff9AA7e16B8B1a8a8dc4f0eFacd93D02d071c9"),
        init_code_hash: b256!("0x6ce8eb472fa82df5469c6ab6d485f17c3ad13c8cd7af59b3d4a8026c5ce0f7e2"),
        salt: Salt::PairAndFee(&[500, 2500, 10_000, 100]),
    },
];

/// Whether the pool is a contract of its own and stands where a known factory puts a pool of these coins.
/// Costs up to 20 hashes; asked once a pool.
pub(super) fn is_derived(key: &PoolKey, coins: [Address; 2]) -> bool {
    if key[20..].iter().any(|byte| *byte != 0) || coins[0] >= coins[1] {
        return false;
    }
    let at = |deployer: &Deployer, salt: B256| deployer.address.create2(salt, deployer.init_code_hash).0 == key[..20];
    DEPLOYERS.iter().any(|deployer| match deployer.salt {
        Salt::Pair => at(deployer, keccak256(coins.concat())),
        Salt::PairAndFee(fees) => fees.iter().any(|fee| at(deployer, salt_with_fee(coins, *fee))),
    })
}

fn salt_with_fee(coins: [Address; 2], fee: u32) -> B256 {
    let mut encoded = [0; 96];
    encoded[12..32].copy_from_slice(&coins[0]);
    encoded[44..64].copy_from_slice(&coins[1]);
    encoded[92..].copy_from_slice(&fee.to_be_bytes());
    keccak256(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mev::dex_trades::registry::pool_key;

    const USDC: EvmAddress = address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
    const WETH: EvmAddress = address!("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");

    fn derived(pool: EvmAddress, coins: [EvmAddress; 2]) -> bool {
        let key = pool_key(&pool.into_array(), pool.as_slice()).expect("an address");
        is_derived(&key, coins.map(EvmAddress::into_array))
    }

    #[test]
    fn known_pools_stand_where_they_should() {
        for pool in [
            address!("0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"),
            address!("0x397FF1542f962076d0BFE58eA045FfA2d347ACa0"),
            address!("0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640"),
            address!("0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8"),
            address!("0xE0554a476A092703abdB3Ef35c80e0D76d32939F"),
            address!("0x1ac1A8FEaAEa1900C4166dEeed0C11cC10669D36"),
        ] {
            assert!(derived(pool, [USDC, WETH]), "{pool}");
            assert!(!derived(pool, [WETH, USDC]), "coins are sorted");
            assert!(!derived(pool, [USDC, address!("0xdAC17F958D2ee523a2206206994597C13D831ec7")]));
        }
    }
}
