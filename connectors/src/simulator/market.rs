//! Tokens, pools and traders: what a swap pays and which logs it leaves.
//!
//! Pools start every block at their usual reserves and move with each swap inside it, so that front
//! running pays as it does on a real chain, while any block can be made without those before it.

use alloy_primitives::{I256, U256, b256};

use super::random::{Random, address_of};

/// A log of a simulated transaction.
#[derive(Clone, Debug)]
pub(super) struct SimLog {
    pub(super) address: [u8; 20],
    pub(super) topics: Vec<[u8; 32]>,
    pub(super) data: Vec<u8>,
}

const TRANSFER: [u8; 32] = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef").0;
const SYNC: [u8; 32] = b256!("1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1").0;
const SWAP_V2: [u8; 32] = b256!("d78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822").0;
const SWAP_V3: [u8; 32] = b256!("c42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67").0;

const ETHER: u128 = 1_000_000_000_000_000_000;
const USERS: u64 = 1_000;
/// Tokens besides WETH.
const TOKENS: usize = 4;
/// Tokens for one ether.
const PRICES: [u128; TOKENS] = [3_000, 200, 40_000, 12];

/// Which protocol a pool follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    V2,
    V3,
}

/// A pool of WETH and a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    pub(super) address: [u8; 20],
    pub(super) protocol: Protocol,
    pub(super) token: [u8; 20],
    pub(super) weth: u128,
    pub(super) tokens: u128,
}

/// What does not change: who there is.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) weth: [u8; 20],
    pub(super) tokens: [[u8; 20]; TOKENS],
    pub(super) users: Vec<[u8; 20]>,
    pub(super) router: [u8; 20],
    pub(super) bots: Vec<[u8; 20]>,
    /// For each token: two V2 pools and one V3 pool.
    pools: Vec<Pool>,
    seed: u64,
}

/// The pools within one block.
#[derive(Clone, Debug)]
pub(super) struct Market<'a> {
    pub(super) world: &'a World,
    pub(super) pools: Vec<Pool>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let tokens = std::array::from_fn(|index| address_of("token", &[seed, number(index)]));
        let mut pools = Vec::new();
        for (index, (token, price)) in tokens.iter().zip(PRICES).enumerate() {
            for (venue, protocol) in [(0, Protocol::V2), (1, Protocol::V2), (2, Protocol::V3)] {
                let address = address_of("pool", &[seed, number(index), venue]);
                let weth = 2_000 * ETHER;
                pools.push(Pool { address, protocol, token: *token, weth, tokens: weth * price });
            }
        }
        World {
            weth: address_of("weth", &[seed]),
            tokens,
            users: (0..USERS).map(|index| address_of("user", &[seed, index])).collect(),
            router: address_of("router", &[seed]),
            bots: (0..8).map(|index| address_of("bot", &[seed, index])).collect(),
            pools,
            seed,
        }
    }

    /// The pools at the start of a block: the usual reserves, a little off.
    pub(super) fn market(&self, height: u64) -> Market<'_> {
        let mut random = Random::of(&[self.seed, 2, height]);
        let mut pools = self.pools.clone();
        for pool in &mut pools {
            // Within 0.2 % of the usual price: less than two fees, so nobody can profit from it.
            pool.tokens = pool.tokens / 10_000 * u128::from(9_990 + random.below(21));
        }
        Market { world: self, pools }
    }

    /// Somebody: a few send much, most send little.
    pub(super) fn user(&self, random: &mut Random) -> [u8; 20] {
        let (one, two) = (random.index(self.users.len()), random.index(self.users.len()));
        self.users[one.min(two)]
    }
}

fn number(index: usize) -> u64 {
    u64::try_from(index).expect("indices have at most 64 bits")
}

/// An address as a topic or a word of data.
pub(super) fn word(address: &[u8; 20]) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address);
    word
}

fn words(values: &[U256]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes::<32>()).collect()
}

/// The log of a token transfer.
pub(super) fn transfer(token: &[u8; 20], from: &[u8; 20], to: &[u8; 20], amount: u128) -> SimLog {
    SimLog { address: *token, topics: vec![TRANSFER, word(from), word(to)], data: words(&[U256::from(amount)]) }
}

/// Out of a pool for what is paid in, 0.3 % less than its reserves say.
fn amount_out(paid: u128, reserve_in: u128, reserve_out: u128) -> u128 {
    let paid = U256::from(paid) * U256::from(997);
    let out = paid * U256::from(reserve_out) / (U256::from(reserve_in) * U256::from(1000) + paid);
    u128::try_from(out).expect("less than the reserve")
}

/// Who trades with a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trade<'a> {
    /// Who called the pool.
    pub(super) sender: &'a [u8; 20],
    /// Who pays.
    pub(super) payer: &'a [u8; 20],
    /// Who is paid.
    pub(super) recipient: &'a [u8; 20],
    /// Whether ether is paid and tokens are got.
    pub(super) buy: bool,
    pub(super) paid: u128,
}

impl Market<'_> {
    /// What a trade would pay out.
    pub(super) fn quote(&self, pool: usize, buy: bool, paid: u128) -> u128 {
        let pool = &self.pools[pool];
        let (reserve_in, reserve_out) = if buy { (pool.weth, pool.tokens) } else { (pool.tokens, pool.weth) };
        amount_out(paid, reserve_in, reserve_out)
    }

    /// Trades, and appends the logs. `pay` is false if the payment's own log was left by the trade before.
    pub(super) fn swap(&mut self, index: usize, trade: Trade<'_>, pay: bool, logs: &mut Vec<SimLog>) -> u128 {
        let out = self.quote(index, trade.buy, trade.paid);
        let weth = self.world.weth;
        let pool = &mut self.pools[index];
        let (token_in, token_out) = if trade.buy { (weth, pool.token) } else { (pool.token, weth) };
        if trade.buy {
            (pool.weth, pool.tokens) = (pool.weth + trade.paid, pool.tokens - out);
        } else {
            (pool.tokens, pool.weth) = (pool.tokens + trade.paid, pool.weth - out);
        }
        if pay {
            logs.push(transfer(&token_in, trade.payer, &pool.address, trade.paid));
        }
        logs.push(transfer(&token_out, &pool.address, trade.recipient, out));
        let weth_first = weth < pool.token;
        match pool.protocol {
            Protocol::V2 => swap_v2_logs(pool, trade, out, weth_first, logs),
            Protocol::V3 => logs.push(swap_v3_log(pool, trade, out, weth_first)),
        }
        out
    }
}

/// A pair in the order of the pool's tokens.
fn ordered<T>(weth: T, token: T, weth_first: bool) -> (T, T) {
    if weth_first { (weth, token) } else { (token, weth) }
}

fn swap_v2_logs(pool: &Pool, trade: Trade<'_>, out: u128, weth_first: bool, logs: &mut Vec<SimLog>) {
    let (reserve0, reserve1) = ordered(pool.weth, pool.tokens, weth_first);
    let sync = words(&[U256::from(reserve0), U256::from(reserve1)]);
    logs.push(SimLog { address: pool.address, topics: vec![SYNC], data: sync });
    let (paid, got) = (U256::from(trade.paid), U256::from(out));
    let zero = U256::ZERO;
    let (in_weth, in_token, out_weth, out_token) =
        if trade.buy { (paid, zero, zero, got) } else { (zero, paid, got, zero) };
    let (in0, in1) = ordered(in_weth, in_token, weth_first);
    let (out0, out1) = ordered(out_weth, out_token, weth_first);
    let topics = vec![SWAP_V2, word(trade.sender), word(trade.recipient)];
    logs.push(SimLog { address: pool.address, topics, data: words(&[in0, in1, out0, out1]) });
}

fn swap_v3_log(pool: &Pool, trade: Trade<'_>, out: u128, weth_first: bool) -> SimLog {
    let signed = |amount: u128| I256::from_raw(U256::from(amount));
    let (weth, token) = if trade.buy { (signed(trade.paid), -signed(out)) } else { (-signed(out), signed(trade.paid)) };
    let (amount0, amount1) = ordered(weth, token, weth_first);
    let (reserve0, reserve1) = ordered(U256::from(pool.weth), U256::from(pool.tokens), weth_first);
    let price: U256 = (reserve1 << 192usize) / reserve0;
    let product: U256 = reserve0 * reserve1;
    let (sqrt_price, liquidity) = (price.root(2), product.root(2));
    let tick = tick_at(sqrt_price).into_raw();
    let data = words(&[amount0.into_raw(), amount1.into_raw(), sqrt_price, liquidity, tick]);
    SimLog { address: pool.address, topics: vec![SWAP_V3, word(trade.sender), word(trade.recipient)], data }
}

/// The tick of a square root of a price in units of 2^-96: its logarithm to the base √1.0001, rounded
/// down, at most one too low. The logarithm to the base 2 is found bit by bit by squaring.
fn tick_at(sqrt_price: U256) -> I256 {
    let bits = sqrt_price.bit_len();
    let mut mantissa: U256 = if bits > 128 { sqrt_price >> (bits - 128) } else { sqrt_price << (128 - bits) };
    let exponent = i64::try_from(bits).expect("at most 256") - 97;
    let mut log2: I256 = I256::try_from(exponent).expect("any i64 fits") << 64usize;
    for bit in 0..20usize {
        mantissa = (mantissa * mantissa) >> 127usize;
        if mantissa.bit_len() > 128 {
            mantissa >>= 1usize;
            let one: I256 = I256::ONE << (63 - bit);
            log2 += one;
        }
    }
    // 2^64 / log2(sqrt(1.0001)), as the V3 contract has it.
    let scale = I256::from_raw(U256::from(255_738_958_999_603_826_347_141_u128));
    let scaled: I256 = log2 * scale;
    scaled.asr(128)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn topics_are_the_hashes_of_the_signatures() {
        assert_eq!(SYNC, keccak256("Sync(uint112,uint112)").0);
        assert_eq!(SWAP_V2, keccak256("Swap(address,uint256,uint256,uint256,uint256,address)").0);
        assert_eq!(SWAP_V3, keccak256("Swap(address,address,int256,int256,uint160,uint128,int24)").0);
    }

    #[test]
    fn ticks() {
        let one = U256::ONE << 96;
        assert!((-1..=0).contains(&tick_at(one).as_i64()));
        // A price of 1.0001^1000 has tick 1000; its square root is about 1.0512657.
        let root = one * U256::from(105_126_570_u64) / U256::from(100_000_000_u64);
        assert!((998..=1000).contains(&tick_at(root).as_i64()), "{}", tick_at(root));
        let inverse = one * U256::from(100_000_000_u64) / U256::from(105_126_570_u64);
        assert!((-1002..=-999).contains(&tick_at(inverse).as_i64()), "{}", tick_at(inverse));
    }

    #[test]
    fn front_running_pays_and_the_product_never_falls() {
        let world = World::new(1);
        let mut market = world.market(1);
        let product = |pool: &Pool| U256::from(pool.weth) * U256::from(pool.tokens);
        let before = product(&market.pools[0]);
        let (user, mut logs) = (world.users[0], Vec::new());
        let trade = |buy, paid| Trade { sender: &user, payer: &user, recipient: &user, buy, paid };
        let got = market.swap(0, trade(true, 20 * ETHER), true, &mut logs);
        market.swap(0, trade(true, 100 * ETHER), true, &mut logs);
        let back = market.swap(0, trade(false, got), true, &mut logs);
        assert!(back > 20 * ETHER);
        assert!(product(&market.pools[0]) >= before);
        assert_eq!(logs.len(), 12);
    }
}
