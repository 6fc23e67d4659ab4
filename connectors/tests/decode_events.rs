//! Events of other tables that no block at hand has, encoded by their published interfaces.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/logs.rs"]
mod logs;

use highwater_connectors::evm::decode::Address;

use logs::{COIN0, COIN1, COIN2, NATIVE, POOL, ROUTER, Transaction, USER, Value, number};

#[test]
fn aggregators_without_amounts() {
    let order = [0xab; 32];
    let reader = Transaction::default()
        .log(ROUTER, "Fill(bytes32,address,address,uint256)", &[&order, &POOL, &USER], &[&1u128])
        .log(ROUTER, "OrderFilled(bytes32,uint256)", &[], &[&order, &0u128])
        .read(&[]);
    let trades = &reader.decoded().aggregator_trades;
    assert_eq!((trades[0].filler, trades[0].trader), (Some(POOL), Some(USER)));
    for trade in trades {
        assert_eq!((trade.order_id.unwrap().as_slice(), trade.token_sold), (&order[..], None));
    }
}

#[test]
fn a_solver_settles_what_came_before() {
    let trade = |log: Transaction, owner: Address| {
        let head: [&dyn Value; 8] = [&COIN0, &[0xee_u8; 20], &10u128, &9u128, &1u128, &192u128, &56u128, &[1u8; 32]];
        let data: Vec<&dyn Value> = head.into_iter().chain([&[2u8; 32] as &dyn Value]).collect();
        log.log(ROUTER, "Trade(address,address,address,uint256,uint256,uint256,bytes)", &[&owner], &data)
    };
    let settle = |log: Transaction, solver: Address| log.log(ROUTER, "Settlement(address)", &[&solver], &[]);
    let logs = settle(trade(trade(Transaction::default(), USER), POOL), [1; 20]);
    let logs = settle(trade(logs, USER), [2; 20]);
    let reader = logs.read(&[]);
    let trades = &reader.decoded().aggregator_trades;
    assert_eq!(trades.iter().map(|trade| trade.filler.unwrap()[0]).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!((trades[0].token_sold, trades[0].token_bought), (Some(COIN0), Some(NATIVE)));
    assert_eq!(trades[0].order_id.unwrap().as_slice(), [&[1; 32][..], &[2; 24]].concat());
}

#[test]
fn flash_loans() {
    let reader = Transaction::default()
        .transfer(COIN1, POOL, USER, 500)
        .log(
            POOL,
            "Flash(address,address,uint256,uint256,uint256,uint256)",
            &[&ROUTER, &USER],
            &[&0u128, &500u128, &0u128, &2u128],
        )
        .log(
            POOL,
            "FlashLoan(address,address,address,uint256,uint256,uint16)",
            &[&USER, &ROUTER, &COIN0],
            &[&1_000u128, &9u128, &0u128],
        )
        .log(
            POOL,
            "FlashLoan(address,address,address,uint256,uint8,uint256,uint16)",
            &[&USER, &COIN0, &0u128],
            &[&ROUTER, &1_000u128, &0u128, &5u128],
        )
        .log(POOL, "FlashLoan(address,address,uint256,uint256)", &[&USER, &COIN0], &[&1_000u128, &0u128])
        .log(POOL, "FlashLoan(address,address,uint256,uint256)", &[&USER], &[&COIN0, &1_000u128, &0u128])
        .log(POOL, "FlashLoan(address,address,uint256)", &[&USER, &COIN0], &[&1_000u128])
        .read(&[]);
    let loans = reader.decoded().flash_loans.iter().map(|loan| {
        assert_eq!(loan.borrower, Some(USER));
        (loan.venue_name.protocol, loan.token.unwrap(), loan.amount, loan.fee)
    });
    let expected = [
        ("uniswap", COIN1, 500, 2),
        ("aave", COIN0, 1_000, 9),
        ("aave", COIN0, 1_000, 5),
        ("balancer", COIN0, 1_000, 0),
        ("maker", COIN0, 1_000, 0),
        ("morpho", COIN0, 1_000, 0),
    ];
    let expected = expected.map(|(protocol, token, amount, fee)| (protocol, token, number(amount), number(fee)));
    assert_eq!(loans.collect::<Vec<_>>(), expected);
}

#[test]
fn liquidations_of_aave() {
    let liquidator = [0x44; 20];
    let newer = Transaction::default()
        .log(
            POOL,
            "LiquidationCall(address,address,address,uint256,uint256,address,bool)",
            &[&COIN0, &COIN1, &USER],
            &[&100u128, &110u128, &liquidator, &1u128],
        )
        .liquidation();
    let older = Transaction::default()
        .log(
            POOL,
            "LiquidationCall(address,address,address,uint256,uint256,uint256,address,bool,uint256)",
            &[&COIN0, &COIN1, &USER],
            &[&100u128, &110u128, &1u128, &liquidator, &1u128, &1_600_000_000u128],
        )
        .liquidation();
    assert_eq!((older.venue_name.version, newer.venue_name.version), ("v1", "v2_or_v3"));
    for row in [newer, older] {
        assert_eq!((row.liquidator, row.borrower), (Some(liquidator), Some(USER)));
        assert_eq!((row.collateral_token, row.debt_token), (Some(COIN0), Some(COIN1)));
        assert_eq!((row.debt_repaid, row.collateral_seized), (Some(number(100)), Some(number(110))));
        assert_eq!(row.receive_wrapped, Some(true));
    }
}

#[test]
fn liquidations_of_compound() {
    let liquidator = [0x44; 20];
    let v2 = Transaction::default()
        .transfer(COIN1, liquidator, POOL, 100)
        .transfer(COIN0, USER, liquidator, 2_000)
        .log(
            POOL,
            "LiquidateBorrow(address,address,uint256,address,uint256)",
            &[],
            &[&liquidator, &USER, &100u128, &COIN0, &2_000u128],
        )
        .liquidation();
    assert_eq!((v2.debt_token, v2.collateral_token, v2.receive_wrapped), (Some(COIN1), Some(COIN0), Some(true)));
    let reader = Transaction::default()
        .log(
            POOL,
            "AbsorbCollateral(address,address,address,uint256,uint256)",
            &[&liquidator, &USER, &COIN0],
            &[&7u128, &8u128],
        )
        .log(POOL, "AbsorbDebt(address,address,uint256,uint256)", &[&liquidator, &USER], &[&5u128, &6u128])
        .transfer(COIN1, liquidator, POOL, 4)
        .log(POOL, "BuyCollateral(address,address,uint256,uint256)", &[&liquidator, &COIN0], &[&4u128, &7u128])
        .transfer(COIN0, POOL, liquidator, 7)
        .read(&[]);
    let rows = reader.decoded().liquidations.iter();
    let rows: Vec<_> = rows.map(|row| (row.event, row.debt_token, row.debt_repaid, row.collateral_seized)).collect();
    let expected = [
        ("absorb_collateral", None, None, Some(number(7))),
        ("absorb_debt", None, Some(number(5)), None),
        ("buy_collateral", Some(COIN1), Some(number(4)), Some(number(7))),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn auctions_of_maker_have_one_house_and_number() {
    let (dog, clip, keeper, ilk) = ([0xd0; 20], [0xc1; 20], [0x44; 20], [0x1c; 32]);
    let ray = 10u128.pow(27);
    let reader = Transaction::default()
        .log(
            clip,
            "Kick(uint256,uint256,uint256,uint256,address,address,uint256)",
            &[&3u128, &USER, &keeper],
            &[&1u128, &2u128, &50u128, &4u128],
        )
        .log(
            dog,
            "Bark(bytes32,address,uint256,uint256,uint256,address,uint256)",
            &[&ilk, &USER, &3u128],
            &[&50u128, &2u128, &3u128, &clip],
        )
        .log(
            clip,
            "Take(uint256,uint256,uint256,uint256,uint256,uint256,address)",
            &[&3u128, &USER],
            &[&9u128, &(2 * ray), &(80 * ray + 1), &0u128, &10u128],
        )
        .log(
            dog,
            "Bite(bytes32,address,uint256,uint256,uint256,address,uint256)",
            &[&ilk, &USER],
            &[&50u128, &2u128, &3u128, &clip, &3u128],
        )
        .read(&[]);
    let rows = &reader.decoded().liquidations;
    assert_eq!(rows.iter().map(|row| row.event).collect::<Vec<_>>(), ["kick", "bark", "take", "bite"]);
    for row in rows {
        assert_eq!((row.market, row.auction_id, row.borrower), (clip, Some(number(3)), Some(USER)));
    }
    assert_eq!((rows[0].liquidator, rows[0].collateral_seized), (Some(keeper), Some(number(50))));
    assert_eq!(rows[1].market_id, Some(ilk));
    assert_eq!((rows[2].debt_repaid, rows[2].collateral_seized), (Some(number(80 * ray + 1)), Some(number(40))));
}

#[test]
fn liquidations_of_morpho() {
    let (caller, id) = ([0x44; 20], [0x1d; 32]);
    let row = Transaction::default()
        .log(
            POOL,
            "Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)",
            &[&id, &caller, &USER],
            &[&100u128, &1u128, &110u128, &3u128, &4u128],
        )
        .transfer(COIN0, POOL, caller, 110)
        .transfer(COIN1, caller, POOL, 100)
        .liquidation();
    assert_eq!((row.market, row.market_id, row.bad_debt), (POOL, Some(id), Some(number(3))));
    assert_eq!((row.debt_token, row.collateral_token), (Some(COIN1), Some(COIN0)));
}

/// Every event above, with its data cut off or with a topic less: it is skipped, once, and nothing else is.
#[test]
fn what_is_cut_off_is_skipped_and_counted() {
    let whole = || {
        Transaction::default()
            .transfer(COIN0, USER, POOL, 100)
            .swap_v2(POOL, 100, 90)
            .log(POOL, "Mint(address,uint256,uint256)", &[&USER], &[&1u128, &2u128])
            .log(POOL, "AnswerUpdated(int256,uint256,uint256)", &[&1u128, &2u128], &[&3u128])
            .log(POOL, "Fill(bytes32,address,address,uint256)", &[&1u128, &POOL, &USER], &[&1u128])
            .log(POOL, "FlashLoan(address,address,uint256)", &[&USER, &COIN0], &[&1_000u128])
            .log(POOL, "AbsorbDebt(address,address,uint256,uint256)", &[&ROUTER, &USER], &[&5u128, &6u128])
            .log(POOL, "PairCreated(address,address,address,uint256)", &[&COIN0, &COIN1], &[&POOL, &7u128])
    };
    assert_eq!(whole().read(&[]).take_skipped(), None);
    for cut in 0..whole().0.len() {
        for topic in [true, false] {
            let mut broken = whole();
            if topic {
                broken.0[cut].topics.truncate(1)
            } else {
                broken.0[cut].data.truncate(31)
            }
            let skipped = broken.read(&[]).take_skipped().expect("one log is broken");
            assert_eq!(skipped.count, 1, "{}", skipped.reason);
        }
    }
}

/// What a trader gave and got is told by the only transfers of the trader in the transaction.
#[test]
fn fills_are_completed_by_transfers() {
    const FILL: &str = "Fill(bytes32,address,address,uint256)";
    const ORDER_FILLED: &str = "OrderFilled(address,bytes32,uint256)";
    let (order, filler, stranger) = (number(7), POOL, [0x77; 20]);
    let told = |transaction: &Transaction| {
        let mut reader = transaction.read(&[]);
        assert_eq!(reader.take_skipped(), None);
        let trades = reader.decoded().aggregator_trades.iter();
        let told =
            trades.map(|trade| [(trade.token_sold, trade.amount_sold), (trade.token_bought, trade.amount_bought)]);
        told.collect::<Vec<_>>()
    };
    let of = |token: Address, amount: u128| (Some(token), Some(number(amount)));
    let nothing = (None, None);
    let fill = |transaction: Transaction| transaction.log(ROUTER, FILL, &[&order, &filler, &USER], &[&1u128]);
    let moved = || Transaction::default().transfer(COIN0, USER, filler, 70).transfer(COIN1, ROUTER, USER, 50);
    assert_eq!(told(&fill(moved())), [[of(COIN0, 70), of(COIN1, 50)]]);
    // Paid out in native coin.
    assert_eq!(told(&fill(Transaction::default().transfer(COIN0, USER, filler, 70))), [[of(COIN0, 70), nothing]]);
    // Two transfers one way, or one from a stranger, leave that side open.
    let twice = moved().transfer(COIN2, USER, filler, 1);
    assert_eq!(told(&fill(twice)), [[nothing, of(COIN1, 50)]]);
    let strange = Transaction::default().transfer(COIN0, USER, filler, 70).transfer(COIN1, stranger, USER, 50);
    assert_eq!(told(&fill(strange)), [[of(COIN0, 70), nothing]]);
    // One coin both ways is no trade, and two fills of one trader share their transfers.
    let same = Transaction::default().transfer(COIN0, USER, filler, 70).transfer(COIN0, ROUTER, USER, 50);
    assert_eq!(told(&fill(same)), [[nothing; 2]]);
    assert_eq!(told(&fill(fill(moved()))), [[nothing; 2]; 2]);
    // 1inch names no counterparty, so anybody may be it.
    let order_filled = |transaction: Transaction| transaction.log(ROUTER, ORDER_FILLED, &[&USER], &[&order, &0u128]);
    let moved = || Transaction::default().transfer(COIN0, USER, stranger, 70).transfer(COIN1, filler, USER, 50);
    assert_eq!(told(&order_filled(moved())), [[of(COIN0, 70), of(COIN1, 50)]]);
    assert_eq!(told(&order_filled(order_filled(moved()))), [[nothing; 2]; 2]);
}
