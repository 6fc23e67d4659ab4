//! The columns of the tables made of logs.

use arrow::datatypes::{DataType, Field};

use super::{address, address_opt, bytes, hash, hash_opt, int, int_opt, text};
use crate::model::wide::{int256_field, uint256_field};

/// Where a decoded log stands: the first columns of every table made of logs.
fn log_place() -> Vec<Field> {
    vec![int("transaction_index"), int("log_index"), hash("transaction_hash")]
}

/// Who sent the transaction of a log, and to whom: the last columns of every table made of logs.
fn log_sender() -> Vec<Field> {
    vec![address("tx_from"), address_opt("tx_to")]
}

fn of_log(columns: Vec<Field>) -> Vec<Field> {
    [log_place(), columns, log_sender()].concat()
}

/// One row a swap event, as the pool tells it. `*_index` is the position of a coin in its pool (0 and 1
/// for pairs); the token addresses are NULL where neither the event nor the transaction's transfers tell
/// them. `reserve*` (Uniswap V2: `Sync`) and `sqrt_price_x96, tick, liquidity` (V3, V4) hold after the swap.
pub(super) fn dex_swap_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        bytes("pool", false),
        address("venue"),
        int_opt("sold_index"),
        int_opt("bought_index"),
        address_opt("token_sold"),
        address_opt("token_bought"),
        uint256_field("amount_sold", false),
        uint256_field("amount_bought", false),
        address_opt("sender"),
        address_opt("recipient"),
        uint256_field("reserve0", true),
        uint256_field("reserve1", true),
        uint256_field("sqrt_price_x96", true),
        int_opt("tick"),
        uint256_field("liquidity", true),
        int_opt("fee_pips"),
        text("source", false),
        text("trust", false),
    ])
}

/// One row a pool whose coins were told: `source` is `event` for the announcement of a factory, `call` for the
/// answer of a node that was asked at the pool's first swap. `index*` is the position of the coin in its pool (0
/// and 1 for pairs). `listed` says whether the factory is a known one; of a `call`, whether that was proven too.
pub(super) fn pool_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        bytes("pool", false),
        address_opt("factory"),
        Field::new("listed", DataType::Boolean, false),
        int("index0"),
        int("index1"),
        address("token0"),
        address("token1"),
        int_opt("fee_pips"),
        int_opt("tick_spacing"),
        address_opt("hooks"),
        text("source", false),
    ])
}

/// One row an addition or removal of liquidity: `kind` is `mint`, `burn` or `collect`. `liquidity` is
/// never negative. `token_id` is that of the position manager's event in the same transaction.
pub(super) fn liquidity_event_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        bytes("pool", false),
        address("venue"),
        text("kind", false),
        address_opt("owner"),
        address_opt("sender"),
        address_opt("recipient"),
        int_opt("tick_lower"),
        int_opt("tick_upper"),
        hash_opt("salt"),
        uint256_field("token_id", true),
        uint256_field("liquidity", true),
        uint256_field("amount0", true),
        uint256_field("amount1", true),
    ])
}

/// One row a liquidation event: `event` is its Solidity name in snake case, such as `liquidation_call`,
/// `liquidate_borrow`, `absorb_debt`, `absorb_collateral`, `buy_collateral`, `bite`, `bark`, `kick`, `take`.
pub(super) fn liquidation_event_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        text("event", false),
        address("market"),
        hash_opt("market_id"),
        address_opt("liquidator"),
        address_opt("borrower"),
        address_opt("debt_token"),
        address_opt("collateral_token"),
        uint256_field("debt_repaid", true),
        uint256_field("collateral_seized", true),
        Field::new("receive_wrapped", DataType::Boolean, true),
        uint256_field("bad_debt", true),
        uint256_field("auction_id", true),
    ])
}

/// One row a fill of an aggregator, a settlement or an order book. Where the event does not tell tokens and amounts
/// (`fill` of UniswapX, `order_filled` of 1inch) they are those of the only transfers that the trader sent and got
/// in the transaction, and NULL where these are not the only ones.
pub(super) fn aggregator_trade_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        text("event", false),
        address("venue"),
        address_opt("trader"),
        address_opt("filler"),
        address_opt("recipient"),
        address_opt("token_sold"),
        address_opt("token_bought"),
        uint256_field("amount_sold", true),
        uint256_field("amount_bought", true),
        bytes("order_id", true),
    ])
}

/// One row a flash loan.
pub(super) fn flash_loan_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        text("version", false),
        address("lender"),
        address_opt("borrower"),
        address_opt("token"),
        uint256_field("amount", true),
        uint256_field("fee", true),
    ])
}

/// One row an answer of a Chainlink price feed.
pub(super) fn oracle_update_columns() -> Vec<Field> {
    of_log(vec![
        text("protocol", false),
        address("feed"),
        int256_field("answer", false),
        uint256_field("round_id", false),
        int_opt("updated_at"),
    ])
}

/// One row an address that swapped, as far as transfers tell: `sender` paid it `amount_sold` of `token_sold`, and
/// it paid `recipient` `amount_bought` of `token_bought` and that token's contract `transfer_fee`. Named as in
/// `dex_swaps`, so that both can be united.
pub(super) fn inferred_swap_columns() -> Vec<Field> {
    of_log(vec![
        address("venue"),
        address("token_sold"),
        address("token_bought"),
        uint256_field("amount_sold", false),
        uint256_field("amount_bought", false),
        uint256_field("transfer_fee", true),
        address("sender"),
        address("recipient"),
        Field::new("mirrored", DataType::Boolean, false),
        text("source", false),
    ])
}
