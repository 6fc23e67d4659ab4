//! What a transaction paid for its place, and what tokens are worth.

use alloy_primitives::{I256, U256};
use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::uint256_from_bytes;

use super::columns::{GasPrices, bytes_at, int_at};
use super::{InputTable, MevSettings};

/// `transactions`, as [`Costs`] reads it.
pub(crate) const TRANSACTIONS: InputTable = InputTable {
    name: "transactions",
    columns: &["transaction_index", "effective_gas_price", "gas_price", "gas_used"],
    optional: true,
};

/// `traces`, as [`Costs`] reads it.
pub(crate) const TRACES: InputTable = InputTable {
    name: "traces",
    columns: &["transaction_index", "call_type", "from_address", "to_address", "value", "success"],
    optional: true,
};

/// `blocks`, as [`Costs`] reads it.
pub(crate) const BLOCKS: InputTable = InputTable { name: "blocks", columns: &["miner"], optional: true };

/// `token_prices`, as [`Costs`] reads it.
pub(crate) const TOKEN_PRICES: InputTable =
    InputTable { name: "token_prices", columns: &["token_address", "usd_per_raw_unit"], optional: true };

/// Gas, tips and prices of one block.
pub(crate) struct Costs<'a> {
    transaction_index: &'a Int64Array,
    gas_price: GasPrices<'a>,
    gas_used: &'a Int64Array,
    traces: Traces<'a>,
    miner: Option<&'a [u8]>,
    price_token: &'a FixedSizeBinaryArray,
    price: &'a Float64Array,
    native_price: Option<f64>,
}

struct Traces<'a> {
    transaction_index: &'a Int64Array,
    call_type: &'a StringArray,
    from: &'a FixedSizeBinaryArray,
    to: &'a FixedSizeBinaryArray,
    value: &'a FixedSizeBinaryArray,
    success: &'a BooleanArray,
}

impl Traces<'_> {
    /// Rows in which the transaction really moved native coins. A delegate call shows the value of its
    /// caller without moving it.
    fn payments(&self, transaction: i64) -> impl Iterator<Item = usize> + '_ {
        (0..self.transaction_index.len()).filter(move |row| {
            int_at(self.transaction_index, *row) == Some(transaction)
                && self.success.value(*row)
                && !(self.call_type.is_valid(*row)
                    && matches!(self.call_type.value(*row), "delegatecall" | "callcode" | "staticcall"))
                && self.value.value(*row).iter().any(|byte| *byte != 0)
        })
    }
}

impl<'a> Costs<'a> {
    /// Reads [`TRANSACTIONS`], [`TRACES`], [`BLOCKS`] and [`TOKEN_PRICES`], in this order.
    pub(crate) fn of(tables: &'a [RecordBatch], settings: &MevSettings) -> Self {
        let [transactions, traces, blocks, prices] = tables else {
            panic!("transactions, traces, blocks and prices are what the relation declares")
        };
        let int = |batch: &'a RecordBatch, index: usize| batch.column(index).as_primitive::<Int64Type>();
        let fixed = |batch: &'a RecordBatch, index: usize| batch.column(index).as_fixed_size_binary();
        let mut costs = Costs {
            transaction_index: int(transactions, 0),
            gas_price: GasPrices::of(transactions, [1, 2]),
            gas_used: int(transactions, 3),
            traces: Traces {
                transaction_index: int(traces, 0),
                call_type: traces.column(1).as_string(),
                from: fixed(traces, 2),
                to: fixed(traces, 3),
                value: fixed(traces, 4),
                success: traces.column(5).as_boolean(),
            },
            miner: (blocks.num_rows() > 0).then(|| fixed(blocks, 0).value(0)),
            price_token: fixed(prices, 0),
            price: prices.column(1).as_primitive::<Float64Type>(),
            native_price: None,
        };
        costs.native_price = settings.wrapped_native.iter().find_map(|token| costs.price_of(token));
        costs
    }

    fn row(&self, transaction: i64) -> Option<usize> {
        // Whole blocks have the transaction with index i in row i.
        let guess = usize::try_from(transaction).ok()?;
        let is_it = |row: &usize| self.transaction_index.value(*row) == transaction;
        if guess < self.transaction_index.len() && is_it(&guess) {
            return Some(guess);
        }
        (0..self.transaction_index.len()).find(is_it)
    }

    /// What the transaction paid for gas, wei; `None` if its receipt is not known.
    pub(crate) fn gas(&self, transaction: i64) -> Option<U256> {
        let row = self.row(transaction)?;
        let used = U256::try_from(int_at(self.gas_used, row)?).ok()?;
        Some(used.saturating_mul(self.gas_price.at(row)?))
    }

    /// What the transaction sent to the block's miner besides gas, wei; `None` if the block has no traces.
    pub(crate) fn tip(&self, transaction: i64) -> Option<U256> {
        let miner = self.miner.filter(|_| self.has_traces())?;
        let paid = self.traces.payments(transaction).filter(|row| bytes_at(self.traces.to, *row) == Some(miner));
        Some(paid.fold(U256::ZERO, |sum, row| sum.saturating_add(uint256_from_bytes(self.traces.value.value(row)))))
    }

    /// Whether the native payments inside transactions are known.
    pub(crate) fn has_traces(&self) -> bool {
        !self.traces.transaction_index.is_empty()
    }

    /// The block's miner, if the block is known.
    pub(crate) fn miner(&self) -> Option<&'a [u8]> {
        self.miner
    }

    /// Native payments of a transaction: from, to, wei; none without traces.
    pub(crate) fn payments(&self, transaction: i64) -> impl Iterator<Item = (&'a [u8], &'a [u8], U256)> + '_ {
        self.traces.payments(transaction).filter_map(|row| {
            let (from, to) = (bytes_at(self.traces.from, row)?, bytes_at(self.traces.to, row)?);
            Some((from, to, uint256_from_bytes(self.traces.value.value(row))))
        })
    }

    /// Gas and tips of several transactions. Gas is unknown if that of one is.
    pub(crate) fn of_all(&self, transactions: &[i64]) -> Paid {
        let sum = |cost: &dyn Fn(i64) -> Option<U256>| {
            transactions.iter().try_fold(U256::ZERO, |sum, index| Some(sum.saturating_add(cost(*index)?)))
        };
        Paid { gas: sum(&|index| self.gas(index)), tip: sum(&|index| self.tip(index)) }
    }

    /// Dollars for the smallest unit of a token.
    pub(crate) fn price_of(&self, token: &[u8]) -> Option<f64> {
        let row = (0..self.price_token.len()).find(|row| self.price_token.value(*row) == token)?;
        self.price.is_valid(row).then(|| self.price.value(row))
    }

    /// What an amount of a token is worth in dollars; `None` if its price is not known.
    pub(crate) fn value(&self, token: &[u8], amount: I256) -> Option<f64> {
        Some(to_float(amount) * self.price_of(token)?)
    }

    /// What is left of dollars after gas and tips; `None` if one of them or the price of gas is not known.
    /// Tips that are not known count as none.
    pub(crate) fn after_costs(&self, gained: Option<f64>, paid: &Paid) -> Option<f64> {
        let spent = paid.gas?.saturating_add(paid.tip.unwrap_or_default());
        Some(gained? - f64::from(spent) * self.native_price?)
    }
}

/// What transactions paid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid {
    pub(crate) gas: Option<U256>,
    pub(crate) tip: Option<U256>,
}

impl Paid {
    /// Together with what others paid. Each is unknown if one side is.
    pub(crate) fn and(self, other: Paid) -> Paid {
        let sum = |a: Option<U256>, b: Option<U256>| Some(a?.saturating_add(b?));
        Paid { gas: sum(self.gas, other.gas), tip: sum(self.tip, other.tip) }
    }

    /// What is left of a profit in native coins; tips that are not known count as none.
    pub(crate) fn net(&self, profit: I256) -> Option<I256> {
        let spent = I256::try_from(self.gas?.saturating_add(self.tip.unwrap_or_default())).unwrap_or(I256::MAX);
        Some(profit.saturating_sub(spent))
    }
}

fn to_float(amount: I256) -> f64 {
    let magnitude = f64::from(amount.unsigned_abs());
    if amount.is_negative() { -magnitude } else { magnitude }
}
