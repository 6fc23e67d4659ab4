//! SQL functions, aggregate signatures and column types beyond DataFusion's: 256-bit integers,
//! addresses, hashes, hex.
//!
//! A query passes here three times: [`prepare()`] over its syntax tree, [`expr_planners`] and
//! [`type_planner`] while it is planned, [`rewrite()`] right after. Physical expressions then pass
//! [`checked()`].
//!
//! | operands | meaning of `+ - * / %` | meaning of comparisons |
//! |---|---|---|
//! | both UINT256 | UINT256, beyond it an error | as numbers |
//! | INT256 beside UINT256, or a negative literal | INT256 | as numbers, over both ranges |
//! | another integer, decimal or text of a whole number | converted to the 256-bit side | as numbers |
//! | a DOUBLE or a decimal with a fraction | DOUBLE | as doubles; a whole literal such as 1e18 exactly |
//! | bytes | refused | with bytes of the same width, or hex text |
//!
//! To add a function: a file with a `Function` (words, types, evaluation) and a line in `OWN`.

mod address;
mod aggregate_list;
mod aggregates;
mod arithmetic;
mod canonical;
mod casts;
mod checked;
mod columns;
mod compare;
mod conditional;
mod constant_floats;
mod convert;
mod decimal;
mod ewma;
mod finish;
mod from_wide;
mod function;
mod hash;
mod hex;
mod keccak256;
mod literals;
mod markers;
mod now;
mod number;
mod operators;
mod planner;
mod prepare;
mod rewrite;
mod selector;
mod sign;
mod statistics;
mod tag;
mod text_bytes;
mod time_format;
mod to_checksum;
mod to_wide;
mod types;
mod unhex;
mod units;

use std::sync::Arc;

use datafusion_expr::planner::{ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};

pub(crate) use aggregate_list::{Constants, Definition};
pub use aggregates::single_value;
pub(crate) use aggregates::{count, definition};
pub use checked::checked;
pub use constant_floats::constant_floats;
pub(crate) use constant_floats::constant_value;
pub use function::FunctionDoc;
pub(crate) use markers::{ASOF, ASOF_LEFT};
pub(crate) use prepare::call;
pub use prepare::prepare;
pub use rewrite::rewrite;
pub(crate) use rewrite::rewrite_expr;

use function::Function;

/// Our scalar functions by single files; families follow in [`own_functions`].
const OWN: &[&Function] = &[
    &address::ADDRESS,
    &hash::HASH,
    &hex::HEX,
    &keccak256::KECCAK256,
    &selector::SELECTOR,
    &to_checksum::TO_CHECKSUM,
    &unhex::UNHEX,
    &units::FORMAT_UNITS,
    &units::PARSE_UNITS,
    &to_wide::TO_UINT256,
    &to_wide::TO_INT256,
    &to_wide::TRY_UINT256,
    &to_wide::TRY_INT256,
    &from_wide::TO_BIGINT,
    &from_wide::TO_DECIMAL,
    &from_wide::TO_DECIMAL76,
    &from_wide::TO_DOUBLE,
    &from_wide::TO_TEXT,
    &sign::INT256_NEG,
    &sign::INT256_ABS,
    &statistics::WILSON_LOWER,
    &statistics::WILSON_UPPER,
    &statistics::Z_SCORE,
];

/// DataFusion's functions that have no place in a dataflow, with the reason.
pub const EXCLUDED: &[(&str, &str)] = &[
    ("random", "another value every time: a row could not be taken back"),
    ("uuid", "another value every time: a row could not be taken back"),
    ("now", "reads the wall clock: our now() is the block time"),
    ("current_date", "reads the wall clock"),
    ("current_time", "reads the wall clock"),
    ("generate_series", "is a relation, as in PostgreSQL: a list of numbers is `range`"),
    ("input_file_name", "knows only DataFusion's own file scans"),
    ("file_row_index", "knows only DataFusion's own file scans"),
    ("version", "names DataFusion's version, which is no data"),
];

fn own_functions() -> impl Iterator<Item = &'static Function> {
    OWN.iter().chain(arithmetic::FUNCTIONS).chain(compare::FUNCTIONS).copied()
}

/// Every scalar function SQL knows: DataFusion's without [`EXCLUDED`], and ours.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = datafusion_functions::all_default_functions()
        .into_iter()
        .chain(datafusion_functions_nested::all_default_nested_functions())
        .filter(|function| EXCLUDED.iter().all(|(name, _)| *name != function.name()))
        .map(|function| match conditional::NAMES.contains(&function.name()) {
            true => conditional::Conditional::wrap(function),
            false => function,
        })
        .collect();
    functions.extend(own_functions().map(Function::udf));
    functions.extend(markers::all());
    functions.push(Arc::new(ScalarUDF::new_from_impl(now::Now::new())));
    functions
}

/// Every aggregate function SQL knows, for planning: the engine's operators evaluate them.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    aggregates::all()
}

/// The window functions that are ours alone.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    vec![ewma::udwf()]
}

/// What gives operators and special syntax their meaning, in the order of asking.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(planner::WidePlanner),
        Arc::new(CoreFunctionPlanner::default()),
        Arc::new(DatetimeFunctionPlanner),
        Arc::new(UnicodeFunctionPlanner),
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
        Arc::new(AggregateFunctionPlanner),
    ]
}

/// What gives type names of chain data their meaning.
pub fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(types::ChainTypes)
}

/// Our functions and the aggregates for the reference page, sorted by name.
pub fn docs() -> Vec<FunctionDoc> {
    let mut docs: Vec<FunctionDoc> = own_functions().map(Function::documentation).collect();
    docs.push(now::Now::documentation());
    docs.extend(aggregates::docs());
    docs.push(ewma::doc());
    docs.sort_by_key(|doc| doc.name);
    docs
}
