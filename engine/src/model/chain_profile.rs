//! What is known of a chain beforehand: pace, finality, coin, stablecoins, quirks.
//!
//! A profile is only ever a default: options of a source say otherwise where it matters. Addresses are
//! those of the issuers' own announcements. Transaction types a profile does not name are kept like any other.

/// What is known of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainProfile {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The word in the column `chain` and in the option `chain`.
    pub name: &'static str,
    /// Usual time between two blocks, in milliseconds.
    pub block_time_ms: u64,
    /// How many blocks must follow a block before it counts as final, where the node has no better answer.
    pub confirmations: u64,
    /// Whether the node's `finalized` tag means that a block cannot go any more. Development nodes call
    /// anything final, and take it back.
    pub finalized_tag: bool,
    /// Symbol of the native coin.
    pub native_symbol: &'static str,
    /// The contract that wraps the native coin (18 decimals), if one is established.
    pub wrapped_native: Option<[u8; 20]>,
    /// Stablecoins, by symbol.
    pub stablecoins: &'static [Stablecoin],
    /// Where the chain differs from Ethereum.
    pub quirks: Quirks,
}

/// A token that is meant to be worth one US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stablecoin {
    /// Its symbol; bridged forms keep the symbol their explorer shows, such as `USDC.e`.
    pub symbol: &'static str,
    /// Its contract.
    pub address: [u8; 20],
    /// Digits after the point of one unit.
    pub decimals: u8,
}

/// Where a chain differs from Ethereum, as far as a reader of blocks notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Receipts have the fee paid for data on layer 1 (`l1Fee` and its relatives).
    pub l1_fee_fields: bool,
    /// EIP-2718 types of transactions that the chain itself makes: they pay no gas and have no signature.
    pub system_transaction_types: &'static [u8],
    /// Logs of the system may name the zero hash as their transaction.
    pub zero_hash_logs: bool,
    /// Logs of system transactions are not in the bloom filter or the receipts root of the header.
    pub logs_outside_bloom: bool,
}

const NONE: Quirks =
    Quirks { l1_fee_fields: false, system_transaction_types: &[], zero_hash_logs: false, logs_outside_bloom: false };

/// Deposits from layer 1 on chains of the OP stack.
const OP_STACK: Quirks = Quirks { l1_fee_fields: true, system_transaction_types: &[0x7e], ..NONE };

/// Deposit, unsigned, contract, retry, submit-retryable and internal transactions of Nitro.
const NITRO: Quirks = Quirks { system_transaction_types: &[0x64, 0x65, 0x66, 0x68, 0x69, 0x6a], ..NONE };

const fn stable(symbol: &'static str, address: &str, decimals: u8) -> Stablecoin {
    Stablecoin { symbol, address: hex(address), decimals }
}

/// Forty hexadecimal digits as an address; anything else does not compile.
const fn hex(text: &str) -> [u8; 20] {
    const fn digit(character: u8) -> u8 {
        match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => panic!("addresses here are written in lower-case hexadecimal digits"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 40, "an address has 20 bytes");
    let mut address = [0; 20];
    let mut index = 0;
    while index < 20 {
        address[index] = digit(text[2 * index]) << 4 | digit(text[2 * index + 1]);
        index += 1;
    }
    address
}

/// Where the OP stack puts its wrapped ether.
const OP_WETH: [u8; 20] = hex("4200000000000000000000000000000000000006");

const DEVNET: ChainProfile = ChainProfile {
    chain_id: 31_337,
    name: "devnet",
    block_time_ms: 1_000,
    confirmations: 64,
    finalized_tag: false,
    native_symbol: "ETH",
    wrapped_native: None,
    stablecoins: &[],
    quirks: NONE,
};

/// Every profile, by chain id.
pub const PROFILES: &[ChainProfile] = &[
    ChainProfile {
        chain_id: 1,
        name: "ethereum",
        block_time_ms: 12_000,
        confirmations: 64,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(hex("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2")),
        stablecoins: &[
            stable("DAI", "6b175474e89094c44da98b954eedeac495271d0f", 18),
            stable("USDC", "a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", 6),
            stable("USDT", "dac17f958d2ee523a2206206994597c13d831ec7", 6),
        ],
        quirks: NONE,
    },
    ChainProfile {
        chain_id: 10,
        name: "optimism",
        block_time_ms: 2_000,
        confirmations: 600,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(OP_WETH),
        stablecoins: &[
            stable("DAI", "da10009cbd5d07dd0cecc66161fc93d7c9000da1", 18),
            stable("USDC", "0b2c639c533813f4aa9d7837caf62653d097ff85", 6),
            stable("USDC.e", "7f5c764cbc14f9669b88837ca1490cca17c31607", 6),
            stable("USDT", "94b008aa00579c1307b0ef2c499ad98a8ce58e58", 6),
        ],
        quirks: OP_STACK,
    },
    ChainProfile {
        chain_id: 56,
        name: "bsc",
        block_time_ms: 750,
        confirmations: 24,
        finalized_tag: true,
        native_symbol: "BNB",
        wrapped_native: Some(hex("bb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c")),
        stablecoins: &[
            stable("BUSD", "e9e7cea3dedca5984780bafc599bd69add087d56", 18),
            stable("DAI", "1af3f329e8be154074d8769d1ffa4ee058b1dbc3", 18),
            stable("USDC", "8ac76a51cc950d9822d68b83fe1ad97b32cd580d", 18),
            stable("USDT", "55d398326f99059ff775485246999027b3197955", 18),
        ],
        quirks: NONE,
    },
    ChainProfile {
        chain_id: 100,
        name: "gnosis",
        block_time_ms: 5_000,
        confirmations: 64,
        finalized_tag: true,
        native_symbol: "xDAI",
        wrapped_native: Some(hex("e91d153e0b41518a2ce8dd3d7944fa863463a97d")),
        stablecoins: &[stable("USDC", "ddafbb505ad214d7b80b1f830fccc89b60fb7a83", 6)],
        quirks: NONE,
    },
    ChainProfile {
        chain_id: 137,
        name: "polygon",
        block_time_ms: 2_000,
        confirmations: 200,
        finalized_tag: true,
        native_symbol: "POL",
        wrapped_native: Some(hex("0d500b1d8e8ef31e21c99d1db9a6444d3adf1270")),
        stablecoins: &[
            stable("DAI", "8f3cf7ad23cd3cadbd9735aff958023239c6a063", 18),
            stable("USDC", "3c499c542cef5e3811e1192ce70d8cc03d5c3359", 6),
            stable("USDC.e", "2791bca1f2de4661ed88a30c99a7a9449aa84174", 6),
            stable("USDT", "c2132d05d31c914a87c6611c10748aeb04b58e8f", 6),
        ],
        quirks: Quirks { logs_outside_bloom: true, ..NONE },
    },
    ChainProfile {
        chain_id: 324,
        name: "zksync",
        block_time_ms: 1_000,
        confirmations: 64,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(hex("5aea5775959fbc2557cc8789bc1bf90a239d9a91")),
        stablecoins: &[stable("USDC", "1d17cbcf0d6d143135ae902365d2e5e2a16538d4", 6)],
        quirks: Quirks { zero_hash_logs: true, ..NONE },
    },
    ChainProfile { chain_id: 1_337, ..DEVNET },
    ChainProfile {
        chain_id: 5_000,
        name: "mantle",
        block_time_ms: 2_000,
        confirmations: 600,
        finalized_tag: true,
        native_symbol: "MNT",
        wrapped_native: Some(hex("78c1b0c915c4faa5fffa6cabf0219da63d7f4cb8")),
        stablecoins: &[
            stable("USDC", "09bc4e0d864854c6afb6eb9a9cdf58ac190d0df9", 6),
            stable("USDT", "201eba5cc46d216ce6dc03f6a759e8e766e956ae", 6),
        ],
        quirks: OP_STACK,
    },
    ChainProfile {
        chain_id: 8_453,
        name: "base",
        block_time_ms: 2_000,
        confirmations: 600,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(OP_WETH),
        stablecoins: &[
            stable("DAI", "50c5725949a6f0c72e6c4a641f24049a917db0cb", 18),
            stable("USDC", "833589fcd6edb6e08f4c7c32d4f71b54bda02913", 6),
            stable("USDbC", "d9aaec86b65d86f6a7b5b1b0c42ffa531710b6ca", 6),
        ],
        quirks: OP_STACK,
    },
    ChainProfile { chain_id: 17_000, name: "holesky", wrapped_native: None, ..TESTNET },
    DEVNET,
    ChainProfile {
        chain_id: 42_161,
        name: "arbitrum",
        block_time_ms: 250,
        confirmations: 4_800,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(hex("82af49447d8a07e3bd95bd0d56f35241523fbab1")),
        stablecoins: &[
            stable("DAI", "da10009cbd5d07dd0cecc66161fc93d7c9000da1", 18),
            stable("USDC", "af88d065e77c8cc2239327c5edb3a432268e5831", 6),
            stable("USDC.e", "ff970a61a04b1ca14834a43f5de4533ebddb5cc8", 6),
            stable("USDT", "fd086bc7cd5c481dcc9c85ebe478a1c0b69fcbb9", 6),
        ],
        quirks: NITRO,
    },
    ChainProfile {
        chain_id: 43_114,
        name: "avalanche",
        block_time_ms: 2_000,
        confirmations: 12,
        finalized_tag: true,
        native_symbol: "AVAX",
        wrapped_native: Some(hex("b31f66aa3c1e785363f0875a1b74e27b85fd66c7")),
        stablecoins: &[
            stable("USDC", "b97ef9ef8734c71904d8002f8b6bc66dd9c48a6e", 6),
            stable("USDT", "9702230a8ea53601f5cd2dc00fdbc13d4df4a8c7", 6),
        ],
        quirks: NONE,
    },
    ChainProfile {
        chain_id: 59_144,
        name: "linea",
        block_time_ms: 2_000,
        confirmations: 64,
        finalized_tag: true,
        native_symbol: "ETH",
        wrapped_native: Some(hex("e5d7c2a44ffddf6b295a15c148167daaaf5cf34f")),
        stablecoins: &[stable("USDC", "176211869ca2b568f2a7d4ee941e073a821ee1ff", 6)],
        quirks: NONE,
    },
    TESTNET,
];

const TESTNET: ChainProfile = ChainProfile {
    chain_id: 11_155_111,
    name: "sepolia",
    block_time_ms: 12_000,
    confirmations: 64,
    finalized_tag: true,
    native_symbol: "ETH",
    wrapped_native: Some(hex("fff9976782d46cc05630d1f6ebab18b2324d6b14")),
    stablecoins: &[],
    quirks: NONE,
};

impl ChainProfile {
    /// The profile of a chain id.
    pub fn of(chain_id: u64) -> Option<&'static ChainProfile> {
        PROFILES.iter().find(|profile| profile.chain_id == chain_id)
    }

    /// The profile of a name, in any case; `anvil`, `hardhat` and `dev` are `devnet`.
    pub fn named(name: &str) -> Option<&'static ChainProfile> {
        let name = match name.to_ascii_lowercase().as_str() {
            "anvil" | "hardhat" | "dev" => "devnet".to_owned(),
            "mainnet" => "ethereum".to_owned(),
            lower => lower.to_owned(),
        };
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The name of a chain id; of an unknown chain `chain-<id>`.
    pub fn name_of(chain_id: u64) -> String {
        ChainProfile::of(chain_id).map_or_else(|| format!("chain-{chain_id}"), |profile| profile.name.to_owned())
    }

    /// What is assumed of a chain nobody knows: that it keeps to the rules of Ethereum, a little faster, and
    /// that its `finalized` tag cannot be relied on.
    pub fn unknown(chain_id: u64) -> ChainProfile {
        ChainProfile { chain_id, name: "unknown", block_time_ms: 2_000, confirmations: 200, ..DEVNET }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_id_and_name() {
        assert!(PROFILES.is_sorted_by(|one, two| one.chain_id < two.chain_id));
        for profile in PROFILES {
            assert_eq!(ChainProfile::of(profile.chain_id), Some(profile));
            assert_eq!(ChainProfile::named(profile.name).map(|named| named.name), Some(profile.name));
            assert_eq!(ChainProfile::name_of(profile.chain_id), profile.name);
        }
        assert_eq!(ChainProfile::named("Anvil").map(|profile| profile.chain_id), Some(1_337));
        assert_eq!(ChainProfile::name_of(7), "chain-7");
    }

    #[test]
    fn no_address_is_written_twice_in_one_profile() {
        for profile in PROFILES {
            let mut addresses: Vec<_> = profile.stablecoins.iter().map(|coin| coin.address).collect();
            addresses.extend(profile.wrapped_native);
            let count = addresses.len();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), count, "{}", profile.name);
        }
    }
}
