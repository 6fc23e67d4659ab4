//! SQL functions and types, from SQL text to values.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array,
    Int64Array, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::logical_plan::builder::LogicalTableSource;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_physical_expr::create_physical_expr;
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::{dialect::GenericDialect, parser::Parser};
use highwater::functions;
use highwater_engine::model::format::write_text;
use highwater_engine::model::wide::{
    ADDRESS_TYPE, HASH_TYPE, Wide, int256_field, int256_to_bytes, uint256_field, uint256_to_bytes, wide_kind,
};
use proptest::prelude::*;

const WETH: &str = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2";
const MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// A catalog of one table `t`, and what the functions module registers.
struct Catalog {
    options: ConfigOptions,
    schema: SchemaRef,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Catalog {
    fn new(schema: SchemaRef) -> Self {
        let mut scalars = HashMap::new();
        for function in functions::scalar_functions() {
            for name in function.aliases().iter().cloned().chain([function.name().to_owned()]) {
                assert!(scalars.insert(name.clone(), function.clone()).is_none(), "{name} is registered twice");
            }
        }
        let mut aggregates = HashMap::new();
        for function in functions::aggregate_functions() {
            for name in function.aliases().iter().cloned().chain([function.name().to_owned()]) {
                assert!(aggregates.insert(name.clone(), function.clone()).is_none(), "{name} is registered twice");
            }
        }
        Catalog { options: ConfigOptions::default(), schema, scalars, aggregates, planners: functions::expr_planners() }
    }

    /// The analysed and optimised plan of a query.
    fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let mut statements = Parser::parse_sql(&GenericDialect {}, sql).expect("SQL parses");
        let mut statement = statements.remove(0);
        functions::prepare(&mut statement);
        let plan = SqlToRel::new(self).sql_statement_to_plan(statement)?;
        let plan = functions::rewrite(plan)?;
        let plan = Analyzer::new().execute_and_check(plan, &self.options, |_, _| {})?;
        Optimizer::new().optimize(plan, &OptimizerContext::new(), |_, _| {})
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match name.table() {
            "t" | "u" => Ok(Arc::new(LogicalTableSource::new(self.schema.clone()))),
            other => Err(DataFusionError::Plan(format!("no table {other}"))),
        }
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }
    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.options
    }
    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }
    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(functions::type_planner())
    }
}

fn fixed<const N: usize>(values: &[Option<[u8; N]>]) -> ArrayRef {
    let width = i32::try_from(N).expect("small");
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter().copied(), width).expect("widths fit"))
}

fn u(value: u64) -> Option<[u8; 32]> {
    Some(uint256_to_bytes(U256::from(value)))
}

fn i(value: i64) -> Option<[u8; 32]> {
    Some(int256_to_bytes(I256::try_from(value).expect("fits")))
}

/// Three rows: small values, other small values, NULLs.
fn batch() -> RecordBatch {
    let schema = Schema::new(vec![
        uint256_field("a", true),
        uint256_field("b", true),
        int256_field("s", true),
        Field::new("n", DataType::Int64, true),
        Field::new("small", DataType::Int32, true),
        Field::new("d", DataType::Decimal128(38, 0), true),
        Field::new("price", DataType::Decimal128(20, 2), true),
        Field::new("f", DataType::Float64, true),
        Field::new("who", ADDRESS_TYPE, true),
        Field::new("h", HASH_TYPE, true),
        Field::new("data", DataType::Binary, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("ok", DataType::Boolean, true),
    ]);
    let weth: [u8; 20] = alloy_primitives::hex::FromHex::from_hex(WETH).expect("hex");
    let columns: Vec<ArrayRef> = vec![
        fixed(&[u(5), u(7), None]),
        fixed(&[u(2), u(7), None]),
        fixed(&[i(-3), i(4), None]),
        Arc::new(Int64Array::from(vec![Some(3), Some(7), None])),
        Arc::new(Int32Array::from(vec![Some(1), Some(2), None])),
        Arc::new(Decimal128Array::from(vec![Some(5), Some(-7), None]).with_precision_and_scale(38, 0).expect("fits")),
        Arc::new(
            Decimal128Array::from(vec![Some(150), Some(200), None]).with_precision_and_scale(20, 2).expect("fits"),
        ),
        Arc::new(Float64Array::from(vec![Some(0.5), Some(2.0), None])),
        fixed(&[Some(weth), Some([0; 20]), None]),
        fixed(&[Some([1; 32]), Some([2; 32]), None]),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0xca, 0xfe]), Some(&[]), None])),
        Arc::new(StringArray::from(vec![Some("12"), Some("0x10"), None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

/// A value column with its field.
struct Values {
    field: Field,
    array: ArrayRef,
}

impl Values {
    fn texts(&self) -> Vec<String> {
        let text = |row| {
            let mut out = String::new();
            write_text(&mut out, &self.field, &self.array, row);
            out
        };
        (0..self.array.len()).map(text).collect()
    }
}

/// Evaluates `SELECT expression FROM t` over the batch.
fn evaluate_over(batch: &RecordBatch, expression: &str) -> Result<Values> {
    let catalog = Catalog::new(batch.schema());
    let plan = catalog.plan(&format!("SELECT {expression} FROM t"))?;
    let LogicalPlan::Projection(projection) = &plan else { panic!("{expression}: {plan}") };
    let schema = projection.input.schema();
    let indices: Vec<usize> =
        schema.fields().iter().map(|field| batch.schema().index_of(field.name()).expect("a column of t")).collect();
    let input = batch.project(&indices).expect("columns exist");
    let physical =
        create_physical_expr(&projection.expr[0], schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    let physical = functions::checked(physical, schema.as_arrow())?;
    let field = plan.schema().field(0).as_ref().clone();
    let array = physical.evaluate(&input)?.into_array(input.num_rows())?;
    assert_eq!(array.data_type(), field.data_type(), "{expression}");
    Ok(Values { field, array })
}

fn evaluate(expression: &str) -> Values {
    evaluate_over(&batch(), expression).unwrap_or_else(|error| panic!("{expression}: {}", error.strip_backtrace()))
}

#[track_caller]
fn gives(expression: &str, expected: [&str; 3]) {
    assert_eq!(evaluate(expression).texts(), expected, "{expression}");
}

#[track_caller]
fn wide(expression: &str, kind: Wide, expected: [&str; 3]) {
    let values = evaluate(expression);
    assert_eq!(wide_kind(&values.field), Some(kind), "{expression}");
    assert_eq!(values.texts(), expected, "{expression}");
}

#[track_caller]
fn fails(expression: &str, message: &str) {
    match evaluate_over(&batch(), expression) {
        Ok(values) => panic!("{expression} gave {:?}", values.texts()),
        Err(error) => {
            let error = error.strip_backtrace();
            assert!(error.contains(message), "{expression}: {error}");
        }
    }
}

#[test]
fn arithmetic_of_one_kind() {
    wide("a + b", Wide::Unsigned, ["7", "14", ""]);
    wide("a - b", Wide::Unsigned, ["3", "0", ""]);
    wide("a * b", Wide::Unsigned, ["10", "49", ""]);
    wide("a / b", Wide::Unsigned, ["2", "1", ""]);
    wide("a % b", Wide::Unsigned, ["1", "0", ""]);
    wide("s * s - s", Wide::Signed, ["12", "12", ""]);
    wide("-a", Wide::Signed, ["-5", "-7", ""]);
    wide("-s", Wide::Signed, ["3", "-4", ""]);
    wide("abs(s)", Wide::Signed, ["3", "4", ""]);
    gives("abs(-n)", ["3", "7", ""]);
    gives("-f", ["-0.5", "-2", ""]);
}

#[test]
fn arithmetic_with_other_numbers() {
    wide("a * 2", Wide::Unsigned, ["10", "14", ""]);
    wide(
        "1000000000000000000000000000000 + a",
        Wide::Unsigned,
        ["1000000000000000000000000000005", "1000000000000000000000000000007", ""],
    );
    wide("a - n", Wide::Unsigned, ["2", "0", ""]);
    wide("a + small", Wide::Unsigned, ["6", "9", ""]);
    wide("a + -9", Wide::Signed, ["-4", "-2", ""]);
    wide("a + s", Wide::Signed, ["2", "11", ""]);
    wide("s + d", Wide::Signed, ["2", "-3", ""]);
    gives("a / 2e0", ["2.5", "3.5", ""]);
    gives("a * f", ["2.5", "14", ""]);
    gives("a * price", ["7.5", "14", ""]);
    gives("a || ' wei'", ["5 wei", "7 wei", ""]);
}

#[test]
fn overflow_is_an_error() {
    fails("b - a - b", "UINT256 overflow: 2 - 5 is below 0");
    fails(&format!("a + {MAX}"), "is above 2^256 - 1");
    fails(&format!("a * {MAX}"), "is above 2^256 - 1");
    fails("a / (b - b)", "division by zero: 5 / 0");
    fails("a % uint256(0)", "division by zero");
    fails(&format!("int256({MAX})"), "INT256 overflow");
    fails("uint256(s)", "UINT256 overflow: -3 is below 0");
    fails("n + 9223372036854775807", "verflow");
    fails("-(n - 9223372036854775807 - 4)", "verflow");
    fails("115792089237316195423570985008687907853269984665640564039457584007913129639936", "does not fit");
}

#[test]
fn comparisons_are_numeric() {
    gives("a > b", ["true", "false", ""]);
    gives("a = b", ["false", "true", ""]);
    gives("a <> 5", ["false", "true", ""]);
    gives("a > s", ["true", "true", ""]);
    gives("s < a", ["true", "true", ""]);
    gives("a >= -1", ["true", "true", ""]);
    gives("a = n", ["false", "true", ""]);
    gives("d < a", ["false", "true", ""]);
    gives("a < 1e30", ["true", "true", ""]);
    gives("a > 6.5", ["false", "true", ""]);
    gives("a = '0x5'", ["true", "false", ""]);
    gives("a BETWEEN 5 AND 6", ["true", "false", ""]);
    gives("a NOT BETWEEN b AND n", ["true", "false", ""]);
    gives("a IN (7, 8, 100000000000000000000000000000)", ["false", "true", ""]);
    gives("a NOT IN (-1, 5)", ["false", "true", ""]);
    gives("a IS NULL", ["false", "false", "true"]);
    gives("CASE a WHEN 5 THEN 'five' ELSE 'other' END", ["five", "other", "other"]);
    gives(&format!("uint256('{MAX}') = {MAX}"), ["true", "true", "true"]);
    gives(&format!("a < {MAX}"), ["true", "true", ""]);
}

#[test]
fn casts_go_both_ways() {
    wide("CAST('0xff' AS UINT256)", Wide::Unsigned, ["255", "255", "255"]);
    wide("CAST(text AS UINT256)", Wide::Unsigned, ["12", "16", ""]);
    wide("CAST(n AS INT256)", Wide::Signed, ["3", "7", ""]);
    wide("CAST(d AS INT256)", Wide::Signed, ["5", "-7", ""]);
    wide("CAST(a AS INT256)", Wide::Signed, ["5", "7", ""]);
    wide("TRY_CAST(d AS UINT256)", Wide::Unsigned, ["5", "", ""]);
    gives("CAST(a AS VARCHAR)", ["5", "7", ""]);
    gives("CAST(s AS BIGINT)", ["-3", "4", ""]);
    gives("CAST(s AS INT)", ["-3", "4", ""]);
    gives("CAST(a AS DOUBLE)", ["5", "7", ""]);
    gives("CAST(a AS DECIMAL(20, 2))", ["5.00", "7.00", ""]);
    gives("CAST(a AS DECIMAL(50, 0))", ["5", "7", ""]);
    gives("CAST(who AS VARCHAR) = '0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2'", ["true", "false", ""]);
    gives(&format!("CAST('{WETH}' AS ADDRESS) = who"), ["true", "false", ""]);
    fails("CAST(ok AS UINT256)", "cannot become UINT256");
    fails("CAST(a AS BOOLEAN)", "cannot be cast");
    fails("CAST(price AS UINT256)", "fraction");
    fails("CAST('1.5' AS UINT256)", "not a whole number");
    fails(&format!("to_decimal({MAX})"), "does not fit DECIMAL(38, 0)");
}

#[test]
fn bytes_meet_hex_text() {
    gives(&format!("who = '{WETH}'"), ["true", "false", ""]);
    gives(&format!("'{WETH}' <> who"), ["false", "true", ""]);
    gives("who = X'c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2'", ["true", "false", ""]);
    gives(&format!("who IN ('{WETH}')"), ["true", "false", ""]);
    gives(&format!("who BETWEEN '{WETH}' AND '{WETH}'"), ["true", "false", ""]);
    gives("data = '0xcafe'", ["true", "false", ""]);
    gives("data <> X'CAFE'", ["false", "true", ""]);
    gives("h = unhex('0101010101010101010101010101010101010101010101010101010101010101')", ["true", "false", ""]);
    gives("who = data", ["false", "false", ""]);
    fails("who = '0x12'", "40 are needed");
    fails("who = X'12'", "20 bytes");
    fails("who = text", "address(");
    fails("who = '0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc3'", "checksum");
    fails("a = h", "has no meaning");
}

#[test]
fn kinds_survive_conditions() {
    wide("CASE WHEN ok THEN a ELSE 0 END", Wide::Unsigned, ["5", "0", "0"]);
    wide("CASE WHEN ok THEN a ELSE s END", Wide::Signed, ["5", "4", ""]);
    wide("CASE WHEN ok THEN a END + 1", Wide::Unsigned, ["6", "", ""]);
    wide("CASE WHEN ok THEN 1 ELSE CASE WHEN n = 7 THEN a END END", Wide::Unsigned, ["1", "7", ""]);
    wide("coalesce(a, 0)", Wide::Unsigned, ["5", "7", "0"]);
    wide("coalesce(a, b, 9) * 2", Wide::Unsigned, ["10", "14", "18"]);
    wide("nvl(s, 1)", Wide::Signed, ["-3", "4", "1"]);
    wide("nullif(a, 5)", Wide::Unsigned, ["", "7", ""]);
    wide("nvl2(n, a, b)", Wide::Unsigned, ["5", "7", ""]);
    wide("greatest(a, b, 6)", Wide::Unsigned, ["6", "7", "6"]);
    wide("least(a, b)", Wide::Unsigned, ["2", "7", ""]);
    gives("coalesce(n, small, 9)", ["3", "7", "9"]);
    gives("CASE WHEN ok THEN n ELSE 1.5 END", ["3", "1.5", "1.5"]);
    fails("CASE WHEN ok THEN a ELSE f END", "no common type");
}

#[test]
fn kinds_survive_relations() {
    let catalog = Catalog::new(batch().schema());
    for (sql, kinds) in [
        ("SELECT a AS x, s FROM (SELECT a, s FROM t) q", [Some(Wide::Unsigned), Some(Wide::Signed)]),
        (
            "SELECT x + 1, y FROM (SELECT CASE WHEN ok THEN a ELSE 0 END AS x, n AS y FROM t) q",
            [Some(Wide::Unsigned), None],
        ),
        ("SELECT a, sum(s) FROM t GROUP BY a", [Some(Wide::Unsigned), Some(Wide::Signed)]),
        ("SELECT sum(a) * 2, max(s) FROM t HAVING sum(a) > 10", [Some(Wide::Unsigned), Some(Wide::Signed)]),
        ("SELECT sum(CASE WHEN ok THEN a ELSE 0 END), count(DISTINCT a) FROM t", [Some(Wide::Unsigned), None]),
        ("SELECT a, n FROM t UNION ALL SELECT 0, 1 FROM t", [Some(Wide::Unsigned), None]),
        ("SELECT a, n FROM t UNION ALL SELECT s, n FROM t", [Some(Wide::Signed), None]),
        ("SELECT a, n FROM t UNION ALL SELECT NULL, n FROM t", [Some(Wide::Unsigned), None]),
        ("SELECT t.a, u.s FROM t JOIN t u ON t.a = u.b WHERE t.a > 5", [Some(Wide::Unsigned), Some(Wide::Signed)]),
        ("SELECT t.a, (SELECT max(u.s) FROM u) FROM t", [Some(Wide::Unsigned), Some(Wide::Signed)]),
        (
            "WITH c AS (SELECT coalesce(a, 0) AS v FROM t) SELECT v, v / 2 FROM c ORDER BY v",
            [Some(Wide::Unsigned), Some(Wide::Unsigned)],
        ),
        ("SELECT CASE WHEN a > 5 THEN a ELSE 0 END AS k, count(*) FROM t GROUP BY 1", [Some(Wide::Unsigned), None]),
    ] {
        let plan = catalog.plan(sql).unwrap_or_else(|error| panic!("{sql}: {}", error.strip_backtrace()));
        let found: Vec<_> = plan.schema().fields().iter().map(|field| wide_kind(field)).collect();
        assert_eq!(found, kinds, "{sql}\n{plan}");
    }
    for sql in ["SELECT a FROM t UNION ALL SELECT h FROM t", "SELECT t.a FROM t JOIN u ON t.a = u.h"] {
        assert!(catalog.plan(sql).is_err(), "{sql}");
    }
}

#[test]
fn aggregates_have_exact_results() {
    let catalog = Catalog::new(batch().schema());
    let decimal = DataType::Decimal128(38, 0);
    for (sql, data_type, nullable) in [
        ("count(*)", DataType::Int64, false),
        ("count(DISTINCT who)", DataType::Int64, false),
        ("sum(n)", decimal.clone(), true),
        ("sum(small)", DataType::Int64, true),
        ("sum(price)", DataType::Decimal128(38, 2), true),
        ("sum(f)", DataType::Float64, true),
        ("avg(a)", DataType::Float64, true),
        ("mean(n)", DataType::Float64, true),
        ("stddev(n)", DataType::Float64, true),
        ("var(small)", DataType::Float64, true),
        ("min(who)", ADDRESS_TYPE, true),
        ("max(small)", DataType::Int32, true),
        ("max(text)", DataType::Utf8, true),
        ("bool_or(ok)", DataType::Boolean, true),
        ("count(*) FILTER (WHERE a > 5)", DataType::Int64, false),
    ] {
        let plan = catalog
            .plan(&format!("SELECT {sql} FROM t"))
            .unwrap_or_else(|error| panic!("{sql}: {}", error.strip_backtrace()));
        let field = plan.schema().field(0);
        assert_eq!((field.data_type(), field.is_nullable()), (&data_type, nullable), "{sql}");
        assert!(!plan.to_string().contains("CAST"), "{sql} casts its argument:\n{plan}");
    }
    for sql in ["sum(h)", "sum(text)", "avg(who)", "bool_and(n)"] {
        assert!(catalog.plan(&format!("SELECT {sql} FROM t")).is_err(), "{sql}");
    }
}

#[test]
fn text_functions() {
    gives("hex(a)", ["0x5", "0x7", ""]);
    gives("hex(s)", ["-0x3", "0x4", ""]);
    gives("hex(data)", ["0xcafe", "0x", ""]);
    gives("unhex(hex(data))", ["0xcafe", "0x", ""]);
    gives(
        "to_checksum(who)",
        ["0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "0x0000000000000000000000000000000000000000", ""],
    );
    gives("format_units(a, 18)", ["0.000000000000000005", "0.000000000000000007", ""]);
    gives("format_units(s, 1)", ["-0.3", "0.4", ""]);
    gives("format_units(100, 2)", ["1", "1", "1"]);
    gives("format_units(0, 18)", ["0", "0", "0"]);
    gives(&format!("format_units({MAX}, 77)"), [&*format!("1.{}", &MAX[1..]); 3]);
    wide("parse_units('.5', 6)", Wide::Unsigned, ["500000", "500000", "500000"]);
    fails("parse_units('1.2345', 3)", "more than 3 decimals");
    fails("parse_units('-1', 3)", "not an amount");
    fails("format_units(a, 99)", "0 to 77");
    fails("unhex('abc')", "odd number");
    fails("unhex('zz')", "not hex");
    fails("selector('transfer(address, uint256)')", "not a function signature");
    fails("hex(ok)", "it is hex(");
    fails("now()", "time column");
}

#[test]
fn documented_examples_hold() {
    let mut names = BTreeMap::new();
    for doc in functions::docs() {
        assert!(names.insert(doc.name, ()).is_none(), "{} is documented twice", doc.name);
        assert!(doc.signature.starts_with(doc.name), "{}", doc.signature);
        if !doc.example.is_empty() {
            assert_eq!(evaluate(doc.example).texts()[0], doc.result, "{}", doc.example);
        }
    }
}

#[test]
fn functions_have_no_hidden_input() {
    for function in functions::scalar_functions() {
        let hidden = function.signature().volatility != Volatility::Immutable;
        assert_eq!(hidden, function.name() == "now", "{}", function.name());
    }
    let defaults: Vec<String> = datafusion_functions::all_default_functions()
        .iter()
        .chain(&datafusion_functions_nested::all_default_nested_functions())
        .map(|function| function.name().to_owned())
        .collect();
    for (name, _) in functions::EXCLUDED {
        assert!(defaults.iter().any(|default| default == name), "{name} is not DataFusion's any more");
    }
}

#[test]
fn unary_minus_keeps_names() {
    let catalog = Catalog::new(batch().schema());
    let plan = catalog.plan("SELECT CASE WHEN ok THEN a END, -n FROM t").expect("plans");
    let names: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["CASE WHEN t.ok THEN t.a END", "(- t.n)"]);
    assert!(plan.expressions().iter().all(|expr| !matches!(expr, Expr::Negative(_))));
}

/// One row of two unsigned and two signed values.
fn row(a: U256, b: U256, s: I256) -> RecordBatch {
    let schema = Schema::new(vec![uint256_field("a", true), uint256_field("b", true), int256_field("s", true)]);
    let columns = vec![
        fixed(&[Some(uint256_to_bytes(a))]),
        fixed(&[Some(uint256_to_bytes(b))]),
        fixed(&[Some(int256_to_bytes(s))]),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

fn any_u256() -> impl Strategy<Value = U256> {
    let limbs = any::<[u64; 4]>().prop_map(U256::from_limbs);
    let edge = prop_oneof![Just(U256::ZERO), Just(U256::ONE), Just(U256::MAX), Just(U256::from(1) << 255)];
    prop_oneof![3 => limbs.clone(), 2 => (limbs, 0_usize..256).prop_map(|(value, shift)| value >> shift), 1 => edge]
}

fn check(batch: &RecordBatch, expression: &str, expected: Option<String>) {
    match (evaluate_over(batch, expression), expected) {
        (Ok(values), Some(expected)) => assert_eq!(values.texts(), [expected], "{expression}"),
        (Err(error), None) => assert!(matches!(error.find_root(), DataFusionError::Execution(_)), "{error}"),
        (Ok(values), None) => panic!("{expression} gave {:?}", values.texts()),
        (Err(error), Some(expected)) => panic!("{expression}: {} for {expected}", error.strip_backtrace()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn kernels_equal_the_library(a in any_u256(), b in any_u256(), raw in any_u256()) {
        let s = I256::from_raw(raw);
        let batch = row(a, b, s);
        check(&batch, "a + b", a.checked_add(b).map(|v| v.to_string()));
        check(&batch, "a - b", a.checked_sub(b).map(|v| v.to_string()));
        check(&batch, "a * b", a.checked_mul(b).map(|v| v.to_string()));
        check(&batch, "a / b", a.checked_div(b).map(|v| v.to_string()));
        check(&batch, "a % b", a.checked_rem(b).map(|v| v.to_string()));
        check(&batch, "a < b", Some((a < b).to_string()));
        check(&batch, "a = s", Some((!s.is_negative() && s.into_raw() == a).to_string()));
        check(&batch, "s > a", Some((!s.is_negative() && s.into_raw() > a).to_string()));
        check(&batch, "s + s", s.checked_add(s).map(|v| v.to_string()));
        check(&batch, "-s", s.checked_neg().map(|v| v.to_string()));
        check(&batch, "uint256(to_text(a)) = a", Some("true".to_owned()));
        check(&batch, "int256(CAST(s AS VARCHAR)) = s", Some("true".to_owned()));
        check(&batch, "uint256(hex(a)) = a", Some("true".to_owned()));
        check(&batch, &format!("a = {a}"), Some("true".to_owned()));
        check(&batch, "parse_units(format_units(a, 18), 18) = a", Some("true".to_owned()));
        let double: f64 = a.to_string().parse().expect("digits");
        check(&batch, "to_double(a)", Some(double.to_string()));
    }
}

#[test]
fn wilson_intervals_and_z_scores() {
    // Of 0, 5 and 10 successes in ten: Newcombe (1998) gives the interval of 81 of 263, 0.2553 to 0.3662.
    gives("round(wilson_lower(81, 263), 4)", ["0.2553", "0.2553", "0.2553"]);
    gives("round(wilson_upper(81, 263), 4)", ["0.3662", "0.3662", "0.3662"]);
    gives("wilson_lower(0, 10)", ["0", "0", "0"]);
    gives("wilson_upper(10, 10)", ["1", "1", "1"]);
    gives("wilson_lower(3, 10, 0)", ["0.3", "0.3", "0.3"]);
    gives("wilson_lower(0, 0) IS NULL AND wilson_lower(NULL, 5) IS NULL", ["true", "true", "true"]);
    fails("wilson_upper(3, 2)", "3 successes of 2 are no share");
    fails("wilson_lower(-1, 2)", "-1 successes of 2 are no share");
    fails("wilson_lower(1, 2, -1.0)", "z is -1, but must not be negative");
    gives("z_score(7, 5, 2)", ["1", "1", "1"]);
    gives("z_score(7, 5, 0) IS NULL AND z_score(7, 5, NULL) IS NULL", ["true", "true", "true"]);
}
