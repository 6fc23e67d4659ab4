//! The content of one block: traffic, attacks, and the truth about them.

use super::market::{Market, Protocol, SimLog, Trade, World, transfer, word};
use super::options::Settings;
use super::plan::Planned;
use super::random::{Random, address_of, hash_of};

/// A simulated transaction with its outcome.
#[derive(Clone, Debug)]
pub(super) struct SimTransaction {
    pub(super) hash: [u8; 32],
    pub(super) from: [u8; 20],
    pub(super) to: [u8; 20],
    pub(super) value: [u8; 32],
    pub(super) input: Vec<u8>,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    pub(super) gas_used: u64,
    pub(super) tip: u64,
    pub(super) success: bool,
    pub(super) logs: Vec<SimLog>,
}

/// A planted sandwich attack. Transactions are positions in the block.
#[derive(Clone, Debug)]
pub(super) struct Sandwich {
    pub(super) pool: [u8; 20],
    pub(super) attacker: [u8; 20],
    pub(super) front: u64,
    pub(super) first_victim: u64,
    pub(super) victims: u64,
    pub(super) back: u64,
    /// Wei, before gas.
    pub(super) profit: u128,
}

/// A planted arbitrage.
#[derive(Clone, Debug)]
pub(super) struct Arbitrage {
    pub(super) transaction: u64,
    pub(super) account: [u8; 20],
    pub(super) swaps: u64,
    pub(super) profit_token: [u8; 20],
    /// Wei, before gas.
    pub(super) profit: u128,
}

/// A simulated block.
#[derive(Clone, Debug)]
pub(super) struct SimBlock {
    pub(super) planned: Planned,
    pub(super) miner: [u8; 20],
    pub(super) timestamp: u64,
    pub(super) base_fee: u64,
    pub(super) transactions: Vec<SimTransaction>,
    pub(super) sandwiches: Vec<Sandwich>,
    pub(super) arbitrages: Vec<Arbitrage>,
}

const START: u64 = 1_700_000_000;
const GWEI: u64 = 1_000_000_000;
const ETHER: u128 = 1_000_000_000_000_000_000;
/// Which part of the transactions of a replaced block is not in the block that replaces it.
const LEFT_OUT: f64 = 0.1;

/// Something that happens in a block: one transaction, or several that belong together.
#[derive(Clone, Copy, Debug)]
enum Action {
    Traffic(u64),
    Sandwich,
    Arbitrage,
}

/// Makes one block. Both blocks of a height draw from the same transactions.
pub(super) fn make(settings: &Settings, world: &World, planned: Planned) -> SimBlock {
    let mut random = Random::of(&[settings.seed, 3, planned.number]);
    let mut maker = Maker {
        settings,
        market: world.market(planned.number),
        number: planned.number,
        outcome: Random::of(&[settings.seed, 4, planned.number, planned.branch]),
        block: SimBlock {
            planned,
            miner: address_of("miner", &[settings.seed, random.below(16)]),
            timestamp: START + planned.number * settings.block_seconds,
            base_fee: 10 * GWEI + random.below(20 * GWEI),
            transactions: Vec::new(),
            sandwiches: Vec::new(),
            arbitrages: Vec::new(),
        },
    };
    for action in actions(settings, &mut random) {
        let left_out = planned.replaces && maker.outcome.chance(LEFT_OUT);
        if !left_out {
            maker.act(action);
        }
    }
    maker.block
}

fn actions(settings: &Settings, random: &mut Random) -> Vec<Action> {
    let mean = settings.transactions_per_block;
    let count = mean / 2 + random.below(mean + 1);
    let mut actions: Vec<_> = (0..count).map(Action::Traffic).collect();
    for (rate, action) in [(settings.sandwich_rate, Action::Sandwich), (settings.arbitrage_rate, Action::Arbitrage)] {
        if random.chance(rate) {
            actions.insert(random.index(actions.len() + 1), action);
        }
    }
    actions
}

struct Maker<'a> {
    settings: &'a Settings,
    market: Market<'a>,
    number: u64,
    /// What differs between two blocks of one height.
    outcome: Random,
    block: SimBlock,
}

/// A call that has not been made into a transaction yet.
struct Call {
    to: [u8; 20],
    value: u128,
    input: Vec<u8>,
    gas_used: u64,
    logs: Vec<SimLog>,
}

impl Maker<'_> {
    fn act(&mut self, action: Action) {
        match action {
            Action::Traffic(index) => self.traffic(index),
            Action::Sandwich => self.sandwich(),
            Action::Arbitrage => self.arbitrage(),
        }
    }

    fn next_index(&self) -> u64 {
        u64::try_from(self.block.transactions.len()).expect("lengths have at most 64 bits")
    }

    /// Adds a transaction known by a `key` that both blocks of a height share.
    fn push(&mut self, key: [u64; 2], from: [u8; 20], call: Call, success: bool) -> u64 {
        let index = self.next_index();
        let mut random = Random::of(&[self.settings.seed, 5, self.number, key[0], key[1]]);
        let mut value = [0; 32];
        value[16..].copy_from_slice(&call.value.to_be_bytes());
        self.block.transactions.push(SimTransaction {
            hash: hash_of("transaction", &[self.settings.seed, self.number, key[0], key[1]]),
            from,
            to: call.to,
            value,
            input: call.input,
            nonce: self.number,
            gas_limit: call.gas_used * 2,
            gas_used: if success { call.gas_used } else { call.gas_used / 2 + random.below(call.gas_used) },
            tip: GWEI / 10 + random.below(2 * GWEI),
            success,
            logs: if success { call.logs } else { Vec::new() },
        });
        index
    }

    fn traffic(&mut self, index: u64) {
        let mut random = Random::of(&[self.settings.seed, 6, self.number, index]);
        let from = self.market.world.user(&mut random);
        let success = !self.outcome.chance(self.settings.failure_rate);
        let kind = random.below(100);
        let amount = ETHER / 1000 * u128::from(1 + random.below(2_000));
        let call = match kind {
            0..25 => {
                let to = self.market.world.user(&mut random);
                Call { to, value: amount, input: Vec::new(), gas_used: 21_000, logs: Vec::new() }
            }
            25..60 => self.token_transfer(&mut random, &from, amount),
            _ => self.user_swap(&mut random, &from, amount, success),
        };
        self.push([0, index], from, call, success);
    }

    fn token_transfer(&self, random: &mut Random, from: &[u8; 20], amount: u128) -> Call {
        let token = self.market.world.tokens[random.index(self.market.world.tokens.len())];
        let to = self.market.world.user(random);
        let mut input = vec![0xa9, 0x05, 0x9c, 0xbb];
        input.extend_from_slice(&word(&to));
        input.extend_from_slice(&[0; 16]);
        input.extend_from_slice(&amount.to_be_bytes());
        Call { to: token, value: 0, input, gas_used: 52_000, logs: vec![transfer(&token, from, &to, amount)] }
    }

    /// A swap through the router. One that fails leaves the pool as it was.
    fn user_swap(&mut self, random: &mut Random, from: &[u8; 20], amount: u128, success: bool) -> Call {
        let pool = random.index(self.market.pools.len());
        let buy = random.chance(0.5);
        let paid = if buy { amount } else { self.market.quote(pool, true, amount) };
        let router = self.market.world.router;
        let mut logs = Vec::new();
        if success {
            let trade = Trade { sender: &router, payer: from, recipient: from, buy, paid };
            self.market.swap(pool, trade, true, &mut logs);
        }
        Call { to: router, value: 0, input: vec![0x38, 0xed, 0x17, 0x39], gas_used: 140_000, logs }
    }

    /// Trades through a contract and adds the transaction; gives its position and what was paid out.
    fn swap_by(
        &mut self,
        key: [u64; 2],
        from: [u8; 20],
        to: [u8; 20],
        pool: usize,
        buy: bool,
        paid: u128,
    ) -> (u64, u128) {
        let mut logs = Vec::new();
        let trade = Trade { sender: &to, payer: &from, recipient: &from, buy, paid };
        let out = self.market.swap(pool, trade, true, &mut logs);
        let call = Call { to, value: 0, input: vec![0x38, 0xed, 0x17, 0x39], gas_used: 140_000, logs };
        (self.push(key, from, call, true), out)
    }

    fn v2_pool(&self, random: &mut Random) -> usize {
        let v2 = |pool: &usize| self.market.pools[*pool].protocol == Protocol::V2;
        let pools: Vec<_> = (0..self.market.pools.len()).filter(v2).collect();
        pools[random.index(pools.len())]
    }

    fn sandwich(&mut self) {
        let mut random = Random::of(&[self.settings.seed, 7, self.number]);
        let pool = self.v2_pool(&mut random);
        let attacker = self.market.world.bots[random.index(self.market.world.bots.len())];
        let router = self.market.world.router;
        let paid = ETHER * u128::from(20 + random.below(20));
        let victims = 1 + random.below(2);
        let (front, got) = self.swap_by([1, 0], attacker, router, pool, true, paid);
        for victim in 0..victims {
            let from = self.market.world.user(&mut random);
            let amount = ETHER * u128::from(60 + random.below(60));
            self.swap_by([1, 1 + victim], from, router, pool, true, amount);
        }
        let (back, out) = self.swap_by([1, 9], attacker, router, pool, false, got);
        let pool = self.market.pools[pool].address;
        let profit = out.checked_sub(paid).expect("victims move the price by more than two fees");
        self.block.sandwiches.push(Sandwich { pool, attacker, front, first_victim: front + 1, victims, back, profit });
    }

    /// Buys where tokens are cheap and sells where they are dear, in one transaction.
    fn arbitrage(&mut self) {
        let mut random = Random::of(&[self.settings.seed, 8, self.number]);
        let token = random.index(self.market.world.tokens.len());
        let account = self.market.world.bots[random.index(self.market.world.bots.len())];
        let from = self.market.world.user(&mut random);
        let (cheap, dear) = (3 * token, 3 * token + 1);
        // Somebody on another chain has just dumped the token.
        self.market.pools[cheap].tokens += self.market.pools[cheap].tokens / 4;
        let paid = ETHER * u128::from(5 + random.below(10));
        let got = self.market.quote(cheap, true, paid);
        let Some(profit) = self.market.quote(dear, false, got).checked_sub(paid) else { return };
        let mut logs = Vec::new();
        let next = self.market.pools[dear].address;
        let buy = Trade { sender: &account, payer: &account, recipient: &next, buy: true, paid };
        self.market.swap(cheap, buy, true, &mut logs);
        let sell = Trade { sender: &account, payer: &next, recipient: &account, buy: false, paid: got };
        self.market.swap(dear, sell, false, &mut logs);
        let call = Call { to: account, value: 0, input: vec![0x12, 0x34, 0x56, 0x78], gas_used: 230_000, logs };
        let transaction = self.push([2, 0], from, call, true);
        let profit_token = self.market.world.weth;
        self.block.arbitrages.push(Arbitrage { transaction, account, swaps: 2, profit_token, profit });
    }
}
