//! Which tokens a swap traded and how far it is believed: payments before and after, coins with fees,
//! forged pools. Events that no block at hand has are encoded by their published interfaces.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/logs.rs"]
mod logs;

use alloy_primitives::{address, keccak256};
use highwater_connectors::evm::decode::rows::{LiquidityKind, PoolId, Swap, Trust};
use highwater_connectors::evm::decode::{Address, Word};

use logs::{COIN0, COIN1, COIN2, NATIVE, POOL, ROUTER, Transaction, USER, Value, number};

fn told(swap: &Swap) -> (Option<Address>, Option<Address>, Word, Word, Trust) {
    (swap.token_sold, swap.token_bought, swap.amount_sold, swap.amount_bought, swap.trust)
}

#[test]
fn pairs_pay_first_or_last() {
    let start = Transaction::default;
    let balanced = (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Balanced);
    let paid_first = start().transfer(COIN0, USER, POOL, 100).transfer(COIN1, POOL, USER, 90).swap_v2(POOL, 100, 90);
    assert_eq!(told(&paid_first.swap()), balanced);
    let flash = start().transfer(COIN1, POOL, USER, 90).transfer(COIN0, USER, POOL, 100).swap_v2(POOL, 100, 90);
    assert_eq!(told(&flash.swap()), balanced);
    let paid_last = start().transfer(COIN1, POOL, USER, 90).swap_v2(POOL, 100, 90).transfer(COIN0, USER, POOL, 100);
    assert_eq!(told(&paid_last.swap()), balanced);
    let wrapped = start()
        .log(COIN0, "Deposit(address,uint256)", &[&POOL], &[&100u128])
        .transfer(COIN1, POOL, USER, 90)
        .swap_v2(POOL, 100, 90);
    assert_eq!(told(&wrapped.swap()), balanced);
}

#[test]
fn what_does_not_fit_is_not_believed() {
    let start = Transaction::default;
    let unknown = (None, None, number(100), number(90), Trust::Unverified);
    assert_eq!(told(&start().swap_v2(POOL, 100, 90).swap()), unknown);
    let other_amount = start().transfer(COIN0, USER, POOL, 101).transfer(COIN1, POOL, USER, 90).swap_v2(POOL, 100, 90);
    assert_eq!(told(&other_amount.swap()), unknown);
    let other_order = start().transfer(COIN1, USER, POOL, 100).transfer(COIN0, POOL, USER, 90).swap_v2(POOL, 100, 90);
    assert_eq!(told(&other_order.swap()), unknown, "coin 0 has the smaller address");
    let other_pool = start().transfer(COIN0, USER, ROUTER, 100).transfer(COIN1, POOL, USER, 90).swap_v2(POOL, 100, 90);
    assert_eq!(told(&other_pool.swap()), unknown);
    let nft = start().log(COIN0, "Transfer(address,address,uint256)", &[&USER, &POOL, &1u128], &[]);
    assert_eq!(told(&nft.transfer(COIN1, POOL, USER, 90).swap_v2(POOL, 1, 90).swap()).4, Trust::Unverified);
}

#[test]
fn a_payment_pays_for_one_swap() {
    let twice = Transaction::default()
        .transfer(COIN0, USER, POOL, 100)
        .transfer(COIN1, POOL, USER, 90)
        .swap_v2(POOL, 100, 90)
        .swap_v2(POOL, 100, 90);
    let trusts: Vec<_> = twice.swaps().iter().map(|swap| swap.trust).collect();
    assert_eq!(trusts, [Trust::Balanced, Trust::Unverified]);
    // What one pool pays out is what the next is paid with: both sides count.
    let next = [0x9a; 20];
    let hops = Transaction::default()
        .transfer(COIN0, USER, POOL, 100)
        .transfer(COIN1, POOL, next, 90)
        .swap_v2(POOL, 100, 90)
        .transfer(COIN2, next, USER, 80)
        .swap_v2(next, 90, 80);
    let swaps = hops.swaps();
    assert_eq!(told(&swaps[0]), (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Balanced));
    assert_eq!(told(&swaps[1]), (Some(COIN1), Some(COIN2), number(90), number(80), Trust::Balanced));
}

#[test]
fn coins_that_take_a_fee_add_up() {
    let taxed = Transaction::default()
        .transfer(COIN0, USER, COIN0, 5)
        .transfer(COIN0, USER, POOL, 100)
        .transfer(COIN1, POOL, COIN1, 9)
        .transfer(COIN1, POOL, USER, 81)
        .swap_v2(POOL, 100, 90);
    assert_eq!(told(&taxed.swap()), (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Balanced));
}

#[test]
fn coins_that_keep_a_fee_unseen_fit_alone() {
    let taxed = (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Taxed);
    let unknown = (None, None, number(100), number(90), Trust::Unverified);
    let paid =
        |sold, bought| Transaction::default().transfer(COIN0, USER, POOL, sold).transfer(COIN1, POOL, USER, bought);
    let swap = |sold, bought| told(&paid(sold, bought).swap_v2(POOL, 100, 90).swap());
    assert_eq!(swap(100, 63), taxed, "27 of 90 are 30 %");
    assert_eq!(swap(100, 62), unknown);
    assert_eq!(swap(70, 90), taxed);
    assert_eq!(swap(69, 90), unknown);
    assert_eq!(swap(100, 91), unknown, "nobody gets more than the pool paid");
    assert_eq!(swap(99, 89), unknown, "one amount at least agrees");
    let choice = paid(100, 80).transfer(COIN2, POOL, ROUTER, 80).swap_v2(POOL, 100, 90);
    assert_eq!(told(&choice.swap()), unknown, "two payments fit");
    let next = paid(100, 80).swap_v2(POOL, 100, 90).transfer(COIN0, USER, POOL, 100).swap_v2(POOL, 100, 90);
    let trusts: Vec<_> = next.swaps().iter().map(|swap| swap.trust).collect();
    assert_eq!(trusts, [Trust::Taxed, Trust::Unverified], "a payment pays for one swap");
    let signature = "DODOSwap(address,address,uint256,uint256,address,address)";
    let dodo = |transaction: Transaction| {
        transaction.log(POOL, signature, &[], &[&COIN0, &COIN1, &100u128, &90u128, &USER, &USER]).swap().trust
    };
    assert_eq!(dodo(paid(95, 90)), Trust::Taxed);
    assert_eq!(dodo(paid(95, 85)), Trust::Unverified);
}

#[test]
fn a_pair_that_is_paid_back_in_kind_does_not_trade() {
    let signature = "Swap(address,uint256,uint256,uint256,uint256,address)";
    let swap = |in0: u128, in1: u128, out0: u128, out1: u128| {
        Transaction::default().log(POOL, signature, &[&ROUTER, &USER], &[&in0, &in1, &out0, &out1])
    };
    assert_eq!(swap(101, 0, 100, 0).swaps(), []);
    assert_eq!(swap(101, 51, 100, 50).swaps(), []);
    let mixed = swap(100, 5, 0, 95).swap();
    assert_eq!((mixed.amount_sold, mixed.amount_bought), (number(100), number(90)), "what was paid back is set off");
}

/// The real pair of USDC and WETH, whose address follows from its coins.
#[test]
fn pools_are_verified_by_their_address() {
    let usdc = address!("a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48").0.0;
    let weth = address!("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2").0.0;
    let pair = address!("b4e16d0168e52d35cacd2c6185b44281ec28c9dc").0.0;
    let verified = (Some(usdc), Some(weth), number(100), number(90), Trust::Verified);
    let honest = Transaction::default().transfer(usdc, USER, pair, 100).transfer(weth, pair, USER, 90);
    let swap = honest.swap_v2(pair, 100, 90).swap();
    assert_eq!((told(&swap), swap.fee_pips, swap.venue_name.protocol), (verified, Some(3_000), "uniswap"));
    // Somebody sends worthless coins in the same amount; the name of the pair tells them apart.
    let baited = Transaction::default()
        .transfer(usdc, USER, pair, 100)
        .transfer(COIN0, USER, pair, 100)
        .transfer(weth, pair, USER, 90)
        .swap_v2(pair, 100, 90);
    assert_eq!(told(&baited.swap()), verified);
    let forged = Transaction::default().transfer(usdc, USER, POOL, 100).transfer(weth, POOL, USER, 90);
    assert_eq!(forged.swap_v2(POOL, 100, 90).swap().trust, Trust::Balanced);
}

#[test]
fn pools_are_verified_by_a_trusted_announcement() {
    let factory = [0xfa; 20];
    let new_pair = Transaction::default()
        .log(factory, "PairCreated(address,address,address,uint256)", &[&COIN0, &COIN1], &[&POOL, &7u128])
        .log(POOL, "Sync(uint112,uint112)", &[], &[&1_100u128, &910u128])
        .swap_v2(POOL, 100, 90);
    for trusted in [true, false] {
        let reader = new_pair.read(if trusted { std::slice::from_ref(&factory) } else { &[] });
        let (pool, swap) = (reader.decoded().pools[0], reader.decoded().swaps[0]);
        assert_eq!((pool.pool, pool.token0, pool.token1, pool.listed), (PoolId::Address(POOL), COIN0, COIN1, trusted));
        assert_eq!(swap.trust, if trusted { Trust::Verified } else { Trust::Unverified });
        assert_eq!(swap.token_bought, trusted.then_some(COIN1));
        assert_eq!(swap.reserves, Some([number(1_100), number(910)]));
    }
}

#[test]
fn velodrome_and_its_relatives() {
    let swap = Transaction::default()
        .transfer(COIN1, USER, POOL, 100)
        .transfer(COIN0, POOL, USER, 90)
        .log(POOL, "Sync(uint256,uint256)", &[], &[&1u128, &2u128])
        .log(
            POOL,
            "Swap(address,address,uint256,uint256,uint256,uint256)",
            &[&ROUTER, &USER],
            &[&0u128, &100u128, &90u128, &0u128],
        )
        .swap();
    assert_eq!(told(&swap), (Some(COIN1), Some(COIN0), number(100), number(90), Trust::Balanced));
    assert_eq!((swap.sold_index, swap.reserves), (Some(1), Some([number(1), number(2)])));
    let factory = [0xfa; 20];
    let reader = Transaction::default()
        .log(factory, "PoolCreated(address,address,bool,address,uint256)", &[&COIN0, &COIN1, &1u128], &[&POOL, &1u128])
        .log(factory, "PairCreated(address,address,bool,address,uint256)", &[&COIN0, &COIN1], &[&0u128, &POOL, &1u128])
        .log(factory, "PoolCreated(address,address,int24,address)", &[&COIN0, &COIN1, &200u128], &[&POOL])
        .log(
            factory,
            "PoolCreated(address,address,uint24,int24,address)",
            &[&COIN0, &COIN1, &500u128],
            &[&10u128, &POOL],
        )
        .log(POOL, "Burn(address,address,uint256,uint256)", &[&ROUTER, &USER], &[&3u128, &4u128])
        .read(&[]);
    let pools = reader.decoded().pools.iter();
    let pools: Vec<_> = pools.map(|pool| (pool.venue_name.version, pool.fee_pips, pool.tick_spacing)).collect();
    let expected =
        [("v2", None, None), ("v1", None, None), ("slipstream", None, Some(200)), ("v3", Some(500), Some(10))];
    assert_eq!(pools, expected);
    assert_eq!(reader.decoded().liquidity[0].amount1, Some(number(4)));
}

const MANAGER: Address = address!("000000000004444c5dc75cb358380d2e3de08a90").0.0;

fn swap_v4(id: Word, amounts: [i128; 2], fee: u128) -> Transaction {
    Transaction::default().log(
        MANAGER,
        "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)",
        &[&id, &ROUTER],
        &[&amounts[0], &amounts[1], &(1u128 << 96), &5u128, &-7i128, &fee],
    )
}

#[test]
fn uniswap_v4_tells_the_swappers_side() {
    let key: Vec<u8> = [COIN0.word(), COIN1.word(), number(500), number(10), NATIVE.word()].concat();
    let id = keccak256(key).0;
    let mut swap = swap_v4(id, [-100, 90], 500);
    swap = swap.transfer(COIN0, USER, MANAGER, 100).transfer(COIN1, MANAGER, USER, 90);
    let verified = swap.swap();
    assert_eq!(told(&verified), (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Verified));
    assert_eq!((verified.pool, verified.venue, verified.tick), (PoolId::Id(id), MANAGER, Some(-7)));
    assert_eq!((verified.fee_pips, verified.sold_index), (Some(500), Some(0)));
    let hooked = swap_v4([7; 32], [90, -100], 0).transfer(COIN1, USER, MANAGER, 100).transfer(COIN0, MANAGER, USER, 90);
    assert_eq!(told(&hooked.swap()), (Some(COIN1), Some(COIN0), number(100), number(90), Trust::Balanced));
    assert_eq!(swap_v4(id, [0, 0], 500).swaps(), [], "a hook traded elsewhere");
}

#[test]
fn uniswap_v4_pools_of_native_coin() {
    let id = keccak256([NATIVE.word(), COIN1.word(), number(3_000), number(60), NATIVE.word()].concat()).0;
    let swap = swap_v4(id, [-100, 90], 3_000).transfer(COIN1, MANAGER, USER, 90).swap();
    assert_eq!(told(&swap), (Some(NATIVE), Some(COIN1), number(100), number(90), Trust::Verified));
    let hooked = swap_v4([7; 32], [-100, 90], 0).transfer(COIN1, MANAGER, ROUTER, 90).log(
        COIN2,
        "Withdrawal(address,uint256)",
        &[&ROUTER],
        &[&100u128],
    );
    assert_eq!(told(&hooked.swap()), (Some(NATIVE), Some(COIN1), number(100), number(90), Trust::Balanced));
}

#[test]
fn uniswap_v4_pools_and_liquidity() {
    let id = [7; 32];
    let hooks = [0x77; 20];
    let reader = Transaction::default()
        .log(
            MANAGER,
            "Initialize(bytes32,address,address,uint24,int24,address,uint160,int24)",
            &[&id, &NATIVE, &COIN1],
            &[&0x80_0000u128, &60u128, &hooks, &(1u128 << 96), &0u128],
        )
        .log(
            MANAGER,
            "ModifyLiquidity(bytes32,address,int24,int24,int256,bytes32)",
            &[&id, &ROUTER],
            &[&-60i128, &60u128, &-5i128, &9u128],
        )
        .log(
            MANAGER,
            "Swap(bytes32,address,int128,int128,uint160,uint128,int24,uint24)",
            &[&id, &ROUTER],
            &[&-100i128, &90u128, &(1u128 << 96), &5u128, &0u128, &2_999u128],
        )
        .read(&[]);
    let pool = reader.decoded().pools[0];
    assert_eq!((pool.token0, pool.fee_pips, pool.hooks, pool.listed), (NATIVE, None, Some(hooks), true));
    let event = reader.decoded().liquidity[0];
    assert_eq!((event.kind, event.liquidity, event.salt), (LiquidityKind::Burn, Some(number(5)), Some(number(9))));
    assert_eq!((event.tick_lower, event.tick_upper, event.owner), (Some(-60), Some(60), Some(ROUTER)));
    let swap = reader.decoded().swaps[0];
    assert_eq!((swap.trust, swap.token_sold, swap.fee_pips), (Trust::Verified, Some(NATIVE), Some(2_999)));
}

#[test]
fn curve_hands_on_to_its_base_pool_without_counting_twice() {
    let (base, meta) = (POOL, [0x88; 20]);
    let exchange = |log: Transaction, buyer: Address| {
        log.log(
            base,
            "TokenExchange(address,int128,uint256,int128,uint256)",
            &[&buyer],
            &[&0u128, &100u128, &1u128, &99u128],
        )
    };
    let underlying = "TokenExchangeUnderlying(address,int128,uint256,int128,uint256)";
    let data: &[&dyn Value] = &[&1u128, &100u128, &2u128, &99u128];
    let handed_on = Transaction::default()
        .transfer(COIN0, USER, meta, 100)
        .transfer(COIN0, meta, base, 100)
        .transfer(COIN1, base, meta, 99);
    let handed_on = exchange(handed_on, meta).transfer(COIN1, meta, USER, 99).log(meta, underlying, &[&USER], data);
    let swap = handed_on.swap();
    assert_eq!((swap.venue, swap.sender, swap.trust), (base, Some(meta), Trust::Balanced));
    // Its own coin against one of the base pool's: only the pool itself tells that.
    let own = Transaction::default().transfer(COIN0, USER, meta, 100).transfer(COIN1, meta, USER, 99);
    let swap = own.log(meta, underlying, &[&USER], data).swap();
    assert_eq!((swap.venue, swap.token_sold, swap.token_bought), (meta, Some(COIN0), Some(COIN1)));
    assert_eq!(swap.venue_name.version, "underlying");
}

#[test]
fn balancer_shares_are_no_trade() {
    let vault = address!("ba12222222228d8ba445958a75a0704d566bf2c8").0.0;
    let mut id = [0; 32];
    id[..20].copy_from_slice(&POOL);
    let signature = "Swap(bytes32,address,address,uint256,uint256)";
    let swap = |from: Address, to: Address| {
        Transaction::default().log(vault, signature, &[&id, &from, &to], &[&100u128, &90u128])
    };
    assert_eq!(told(&swap(COIN0, COIN1).swap()), (Some(COIN0), Some(COIN1), number(100), number(90), Trust::Verified));
    assert_eq!(swap(COIN0, POOL).swaps(), []);
    assert_eq!(swap(POOL, COIN1).swaps(), []);
    // Two payments of another coin that add up are none of the coin told.
    let forged = Transaction::default()
        .transfer(COIN2, USER, ROUTER, 60)
        .transfer(COIN2, USER, ROUTER, 40)
        .transfer(COIN1, ROUTER, USER, 90)
        .log(ROUTER, signature, &[&id, &COIN0, &COIN1], &[&100u128, &90u128]);
    assert_eq!(forged.swap().trust, Trust::Unverified);
}

#[test]
fn balancer_v3_tells_its_fee() {
    let fee = 3_000_000_000_000_000u128;
    let swap = Transaction::default()
        .log(
            ROUTER,
            "Swap(address,address,address,uint256,uint256,uint256,uint256)",
            &[&POOL, &COIN0, &COIN1],
            &[&100u128, &90u128, &fee, &1u128],
        )
        .transfer(COIN0, USER, ROUTER, 100)
        .transfer(COIN1, ROUTER, USER, 90)
        .swap();
    assert_eq!((swap.pool, swap.venue, swap.fee_pips), (PoolId::Address(POOL), ROUTER, Some(3_000)));
    assert_eq!(swap.trust, Trust::Balanced);
}
