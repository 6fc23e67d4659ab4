//! `block_attribution`: who built a block and what it was paid.
//!
//! Definition, one row a block:
//!
//! * `builder`: the fee recipient, `blocks.miner`; `builder_name` its name in the labels, if known.
//! * `priority_fees_wei`: `Σ gas_used · (effective_gas_price - base_fee)` over the block's transactions, all
//!   of the gas price before EIP-1559. NULL if a receipt is missing.
//! * `burnt_wei`: `gas_used · base_fee` of the block (EIP-1559); what blobs burn is not in it.
//! * `tips_wei`: native coins that successful transactions of others sent to the builder, at the top and
//!   inside; `internal_tips_wei` is the part inside, by `traces`: calls with value that succeeded, delegate
//!   calls not counted because they move nothing, and what a destroyed contract left. NULL without traces,
//!   and then `tips_wei` is the part at the top alone.
//! * `proposer_payment_wei`, `proposer`: value and receiver of the last transaction, if the builder sent it
//!   and it succeeded: how builders pay proposers under MEV-Boost.
//! * `extra_data`: as text, if it is printable UTF-8: builders sign with it.
//!
//! Reference: mev-inspect's miner payments, brontes' block attribution. No state.

use std::sync::{Arc, LazyLock};

use alloy_primitives::U256;
use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{Array, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::uint256_field;

use super::columns::{
    self, GasPrices, address_at, bytes_at, common_columns, fixed, int_at, ints, texts_opt, unsigned, wide_at,
};
use super::{Address, BlockRelation, InputTable, MevSettings};
use crate::block_kernel::{BlockKernel, BlockRows};

/// The relation.
pub(super) const RELATION: BlockRelation = BlockRelation {
    name: "block_attribution",
    about: "One row a block: who built it, what it earned in fees and tips, what was burnt, and what the \
            builder paid the proposer.",
    inputs: &[
        InputTable {
            name: "blocks",
            columns: &["chain", "chain_id", "miner", "gas_used", "base_fee_per_gas", "transaction_count", "extra_data"],
            optional: false,
        },
        InputTable {
            name: "transactions",
            columns: &[
                "transaction_index",
                "from_address",
                "to_address",
                "value",
                "gas_used",
                "effective_gas_price",
                "gas_price",
                "success",
            ],
            optional: false,
        },
        InputTable {
            name: "traces",
            columns: &["trace_address", "trace_type", "call_type", "from_address", "to_address", "value", "success"],
            optional: true,
        },
    ],
    schema,
    state: None,
    kernel: |settings| Box::new(BlockAttribution { settings: settings.clone() }),
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        columns::table(vec![
            columns::address("builder"),
            Field::new("builder_name", DataType::Utf8, true),
            columns::int("transaction_count"),
            uint256_field("priority_fees_wei", true),
            uint256_field("burnt_wei", false),
            uint256_field("tips_wei", false),
            uint256_field("internal_tips_wei", true),
            uint256_field("proposer_payment_wei", true),
            columns::address_opt("proposer"),
            Field::new("extra_data", DataType::Utf8, true),
        ])
    });
    SCHEMA.clone()
}

/// The kernel of `block_attribution`.
pub struct BlockAttribution {
    settings: Arc<MevSettings>,
}

/// The transactions of a block by column.
struct Transactions<'a> {
    index: &'a [i64],
    from: &'a FixedSizeBinaryArray,
    to: &'a FixedSizeBinaryArray,
    value: &'a FixedSizeBinaryArray,
    gas_used: &'a Int64Array,
    gas_price: GasPrices<'a>,
    success: &'a BooleanArray,
}

impl<'a> Transactions<'a> {
    fn of(batch: &'a RecordBatch) -> Transactions<'a> {
        let int = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Transactions {
            index: int(0).values(),
            from: fixed(1),
            to: fixed(2),
            value: fixed(3),
            gas_used: int(4),
            gas_price: GasPrices::of(batch, [5, 6]),
            success: batch.column(7).as_boolean(),
        }
    }

    /// Before Byzantium receipts do not tell success; a transaction counts unless it is known to have failed.
    fn succeeded(&self, row: usize) -> bool {
        !self.success.is_valid(row) || self.success.value(row)
    }

    fn value(&self, row: usize) -> U256 {
        wide_at(self.value, row).unwrap_or_default()
    }

    /// What the transactions paid above the base fee, wei; `None` if a receipt is missing.
    fn priority_fees(&self, base_fee: U256) -> Option<U256> {
        (0..self.index.len()).try_fold(U256::ZERO, |sum, row| {
            let used = U256::try_from(int_at(self.gas_used, row)?).ok()?;
            // Transactions of a rollup's own may pay less than the base fee.
            let above = self.gas_price.at(row)?.saturating_sub(base_fee);
            Some(sum.saturating_add(used.saturating_mul(above)))
        })
    }

    /// What transactions of others carried to the builder, wei.
    fn tips(&self, builder: &Address) -> U256 {
        let tips = (0..self.index.len()).filter(|row| {
            self.succeeded(*row)
                && bytes_at(self.to, *row) == Some(builder)
                && bytes_at(self.from, *row) != Some(builder)
        });
        tips.fold(U256::ZERO, |sum, row| sum.saturating_add(self.value(row)))
    }

    /// What the builder paid in the last transaction, and to whom.
    fn proposer_payment(&self, builder: &Address) -> Option<(U256, Address)> {
        let last = (0..self.index.len()).max_by_key(|row| self.index[*row])?;
        let pays = self.succeeded(last) && bytes_at(self.from, last) == Some(builder) && !self.value(last).is_zero();
        Some((self.value(last), address_at(self.to, last).filter(|_| pays)?))
    }
}

/// The traces of a block by column.
struct Traces<'a> {
    address: &'a StringArray,
    kind: &'a StringArray,
    call_type: &'a StringArray,
    from: &'a FixedSizeBinaryArray,
    to: &'a FixedSizeBinaryArray,
    value: &'a FixedSizeBinaryArray,
    success: &'a BooleanArray,
}

impl<'a> Traces<'a> {
    fn of(batch: &'a RecordBatch) -> Traces<'a> {
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let fixed = |column: usize| batch.column(column).as_fixed_size_binary();
        Traces {
            address: text(0),
            kind: text(1),
            call_type: text(2),
            from: fixed(3),
            to: fixed(4),
            value: fixed(5),
            success: batch.column(6).as_boolean(),
        }
    }

    /// Whether a trace moved coins inside a transaction; its top is the transaction itself.
    fn moves(&self, row: usize) -> bool {
        let borrowed = self.call_type.is_valid(row)
            && matches!(self.call_type.value(row), "delegatecall" | "callcode" | "staticcall");
        let inside = !self.address.value(row).is_empty();
        inside && self.success.value(row) && !borrowed && self.kind.value(row) != "reward"
    }

    /// What the builder got inside transactions from others, wei; `None` without traces.
    fn tips(&self, builder: &Address) -> Option<U256> {
        let rows = 0..self.value.len();
        if rows.is_empty() {
            return None;
        }
        let tips = rows.filter(|row| {
            bytes_at(self.to, *row) == Some(builder) && bytes_at(self.from, *row) != Some(builder) && self.moves(*row)
        });
        Some(tips.fold(U256::ZERO, |sum, row| sum.saturating_add(wide_at(self.value, row).unwrap_or_default())))
    }
}

/// The text of a block's extra data, if it is one.
fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

impl BlockKernel for BlockAttribution {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn block(&mut self, rows: BlockRows<'_>) -> RecordBatch {
        let [block, transactions, traces] = rows.tables else {
            panic!("the kernel gets the tables that the relation declares")
        };
        if block.num_rows() == 0 {
            return RecordBatch::new_empty(schema());
        }
        let int = |column: usize| int_at(block.column(column).as_primitive::<Int64Type>(), 0);
        let wide = |column: usize| int(column).and_then(|value| U256::try_from(value).ok()).unwrap_or_default();
        let builder = address_at(block.column(2).as_fixed_size_binary(), 0).expect("every block has a fee recipient");
        let (gas_used, base_fee) = (wide(3), wide(4));
        let transactions = Transactions::of(transactions);
        let internal = Traces::of(traces).tips(&builder);
        let tips = transactions.tips(&builder).saturating_add(internal.unwrap_or_default());
        let payment = transactions.proposer_payment(&builder);
        let name = self.settings.labels.get(&builder).map(|label| label.name.as_str());
        let mut columns =
            common_columns(block.column(0).as_string::<i32>().value(0), int(1).unwrap_or_default(), &rows, 1);
        columns.extend([
            fixed(20, [Some(builder)].into_iter()),
            texts_opt([name].into_iter()),
            ints(int(5).into_iter()),
            unsigned([transactions.priority_fees(base_fee)].into_iter()),
            unsigned([Some(gas_used.saturating_mul(base_fee))].into_iter()),
            unsigned([Some(tips)].into_iter()),
            unsigned([internal].into_iter()),
            unsigned([payment.map(|(value, _)| value)].into_iter()),
            fixed(20, [payment.map(|(_, receiver)| receiver)].into_iter()),
            texts_opt([printable(block.column(6).as_binary::<i32>().value(0))].into_iter()),
        ]);
        RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
    }
}
