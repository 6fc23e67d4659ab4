//! Statistics that jobs judge rates and outliers with.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::ColumnarValue;

use super::function::{Argument, Call, Function, FunctionText, Output};

/// Two-sided 95 % of a normal distribution.
const DEFAULT_Z: f64 = 1.96;

fn doubles(types: &[DataType], counts: std::ops::RangeInclusive<usize>) -> Option<Vec<DataType>> {
    let numbers = types.iter().all(|given| given.is_numeric() || given.is_null());
    (numbers && counts.contains(&types.len())).then(|| vec![DataType::Float64; types.len()])
}

fn double(_arguments: &[Argument<'_>]) -> Option<Output> {
    Some(Output::Plain(DataType::Float64))
}

/// A column or a constant of doubles.
struct Doubles {
    array: Float64Array,
    constant: bool,
}

impl Doubles {
    fn new(value: &ColumnarValue) -> Result<Doubles> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let array = arrow::compute::cast(&array, &DataType::Float64)?;
        Ok(Doubles { array: array.as_primitive::<Float64Type>().clone(), constant })
    }

    fn get(&self, row: usize) -> Option<f64> {
        let row = if self.constant { 0 } else { row };
        self.array.is_valid(row).then(|| self.array.value(row))
    }
}

fn fill(call: &Call<'_>, value: impl Fn(&[f64]) -> Result<Option<f64>>) -> Result<ArrayRef> {
    let columns = call.values.iter().map(Doubles::new).collect::<Result<Vec<_>>>()?;
    let mut arguments = Vec::with_capacity(columns.len());
    let mut results = Float64Array::builder(call.rows);
    for row in 0..call.rows {
        arguments.clear();
        arguments.extend(columns.iter().map_while(|column| column.get(row)));
        let complete = arguments.len() == columns.len();
        results.append_option(if complete { value(&arguments)? } else { None });
    }
    Ok(Arc::new(results.finish()))
}

/// The bound of the interval on one side (-1 or 1).
fn wilson(call: &Call<'_>, side: f64) -> Result<ArrayRef> {
    fill(call, |arguments| {
        let (successes, total) = (arguments[0], arguments[1]);
        let z = arguments.get(2).copied().unwrap_or(DEFAULT_Z);
        if successes < 0.0 || successes > total {
            return exec_err!("{successes} successes of {total} are no share");
        }
        if z < 0.0 {
            return exec_err!("z is {z}, but must not be negative");
        }
        if total == 0.0 {
            return Ok(None);
        }
        let (share, square) = (successes / total, z * z);
        let middle = share + square / (2.0 * total);
        let half = z * (share * (1.0 - share) / total + square / (4.0 * total * total)).sqrt();
        let bound = (middle + side * half) / (1.0 + square / total);
        // At the ends the interval touches 0 and 1; rounding may leave it a little beyond.
        let bound = match (successes == 0.0, successes == total) {
            (true, _) if side < 0.0 => 0.0,
            (_, true) if side > 0.0 => 1.0,
            _ => bound.clamp(0.0, 1.0),
        };
        Ok(Some(bound))
    })
}

fn z_score(call: &Call<'_>) -> Result<ArrayRef> {
    fill(call, |arguments| {
        let [x, mean, deviation] = arguments else { return Ok(None) };
        Ok((*deviation != 0.0).then(|| (x - mean) / deviation))
    })
}

/// `wilson_lower(successes, total)`
pub(crate) static WILSON_LOWER: Function = Function {
    doc: FunctionText {
        name: "wilson_lower",
        signature: "wilson_lower(successes, total [, z = 1.96]) -> DOUBLE",
        doc: "The lower end of Wilson's score interval of a share (E. B. Wilson, Probable Inference, the Law of \
              Succession, and Statistical Inference, 1927): few observations rank below many with the same share. \
              z is 1.96 for 95 %. NULL if total is 0; an error if successes are below 0 or above total.",
        example: "wilson_lower(0, 10)",
        result: "0",
    },
    accepts: |types| doubles(types, 2..=3),
    returns: double,
    evaluate: |call| wilson(call, -1.0),
};

/// `wilson_upper(successes, total)`
pub(crate) static WILSON_UPPER: Function = Function {
    doc: FunctionText {
        name: "wilson_upper",
        signature: "wilson_upper(successes, total [, z = 1.96]) -> DOUBLE",
        doc: "The upper end of Wilson's score interval; see wilson_lower.",
        example: "wilson_upper(5, 5)",
        result: "1",
    },
    accepts: |types| doubles(types, 2..=3),
    returns: double,
    evaluate: |call| wilson(call, 1.0),
};

/// `z_score(x, mean, stddev)`
pub(crate) static Z_SCORE: Function = Function {
    doc: FunctionText {
        name: "z_score",
        signature: "z_score(x, mean, stddev) -> DOUBLE",
        doc: "How many standard deviations x lies above the mean. NULL if stddev is 0.",
        example: "z_score(7, 5, 2)",
        result: "1",
    },
    accepts: |types| doubles(types, 3..=3),
    returns: double,
    evaluate: z_score,
};
