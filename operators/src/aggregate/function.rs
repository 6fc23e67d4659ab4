//! The aggregate functions and their constants.

use std::fmt;

/// The aggregate functions.
///
/// NULL arguments are ignored where nothing else is said. Without a row that counts, counts are 0 and
/// everything else is NULL. With `distinct` a function sees each value (of all its arguments) once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AggregateFunction {
    /// `count(*)`: `Int64`.
    CountAll,
    /// `count(x)`: `Int64`.
    Count,
    /// `sum(x)`, always exact: integers to `Decimal128(38, 0)`, `Decimal128(p, s)` to `Decimal128(38, s)`,
    /// 256-bit integers to themselves (an error row where the sum does not fit), floats to `Float64`
    /// (the exact sum, rounded once; independent of order).
    Sum,
    /// `min(x)` of any type that sorts.
    Min,
    /// `max(x)` of any type that sorts.
    Max,
    /// `avg(x)`: the exact sum divided by the count, `Float64`.
    Avg,
    /// Population variance, `Float64`; from exact sums, rounded only at the end.
    VarPop,
    /// Sample variance, `Float64`; NULL for fewer than two rows.
    VarSamp,
    /// Population standard deviation, `Float64`.
    StddevPop,
    /// Sample standard deviation, `Float64`; NULL for fewer than two rows.
    StddevSamp,
    /// `bool_and(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
    /// `bit_and(x)` of integers up to 256 bits.
    BitAnd,
    /// `bit_or(x)` of integers up to 256 bits.
    BitOr,
    /// `bit_xor(x)` of integers up to 256 bits.
    BitXor,
    /// `covar_pop(y, x)`, `Float64`. Like all functions of pairs it skips pairs with a NULL.
    CovarPop,
    /// `covar_samp(y, x)`, `Float64`; NULL for fewer than two pairs.
    CovarSamp,
    /// `corr(y, x)`, `Float64` from -1 to 1; NULL where one side is constant.
    Corr,
    /// `regr_count(y, x)`: pairs without NULL, `Int64`.
    RegrCount,
    /// `regr_avgx(y, x)`, `Float64`.
    RegrAvgX,
    /// `regr_avgy(y, x)`, `Float64`.
    RegrAvgY,
    /// `regr_sxx(y, x)`: the sum of squared distances of x from its mean, `Float64`.
    RegrSxx,
    /// `regr_syy(y, x)`, `Float64`.
    RegrSyy,
    /// `regr_sxy(y, x)`, `Float64`.
    RegrSxy,
    /// `regr_slope(y, x)`, `Float64`; NULL where x is constant.
    RegrSlope,
    /// `regr_intercept(y, x)`, `Float64`; NULL where x is constant.
    RegrIntercept,
    /// `regr_r2(y, x)`, `Float64`; NULL where x is constant, 1 where only y is.
    RegrR2,
    /// The value at a fraction of the ordered values, between two of them in proportion: `Float64`.
    PercentileCont,
    /// The first value whose share of the ordered values reaches the fraction: the type of the argument.
    PercentileDisc,
    /// The most frequent value; of several the first in the order asked for (the least by default).
    Mode,
    /// All values as a list, NULL included; in the order asked for, equal ones (and all, if no order is
    /// asked for) by value, NULL last.
    ArrayAgg,
    /// The texts one after another with the separator between; ordered as [`AggregateFunction::ArrayAgg`].
    StringAgg,
    /// The first value of the list that [`AggregateFunction::ArrayAgg`] would give.
    FirstValue,
    /// The last value of that list.
    LastValue,
    /// The value at a position of that list.
    NthValue,
    /// `min_by(x, y)`: the x where y is least; of several the first in the order asked for, then the least x. NULL y
    /// are ignored, NULL x are not.
    MinBy,
    /// `max_by(x, y)`: the x where y is greatest; of several as [`AggregateFunction::MinBy`].
    MaxBy,
    /// The value of the only row, NULL without a row, an error row with several: a subquery as a value.
    SingleValue,
    /// How many different values, estimated (HyperLogLog, standard error 1.6 %): `Int64`.
    ApproxDistinct,
    /// [`AggregateFunction::PercentileDisc`] of numbers within a relative error: `Float64`.
    ApproxQuantile,
    /// Numbers counted in buckets as wide as the relative error: a list of `low`, `high`, `count`.
    Histogram,
}

/// Constants of a call; those that its function does not know are ignored.
#[derive(Clone, PartialEq, Debug)]
pub struct AggregateParameters {
    /// Of percentiles and quantiles, from 0 to 1.
    pub fraction: f64,
    /// What [`AggregateFunction::StringAgg`] puts between texts.
    pub separator: String,
    /// Of [`AggregateFunction::NthValue`]: 1 is the first, -1 the last.
    pub position: i64,
    /// How far sketches may be from the truth, as a share of the value; [`AggregateParameters::ERRORS`].
    pub relative_error: f64,
    /// `IGNORE NULLS`, for functions that otherwise take them.
    pub ignore_nulls: bool,
}

impl AggregateParameters {
    /// The relative errors a sketch can have.
    pub const ERRORS: std::ops::RangeInclusive<f64> = 0.000_01..=0.5;
}

impl Default for AggregateParameters {
    fn default() -> AggregateParameters {
        AggregateParameters {
            fraction: 0.5,
            separator: String::new(),
            position: 1,
            relative_error: 0.01,
            ignore_nulls: false,
        }
    }
}

impl AggregateFunction {
    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        use AggregateFunction as F;
        match self {
            F::CountAll => 0,
            F::MinBy | F::MaxBy => 2,
            _ if self.is_of_pairs() => 2,
            _ => 1,
        }
    }

    /// Whether it is a statistic of pairs of numbers.
    pub fn is_of_pairs(self) -> bool {
        use AggregateFunction as F;
        matches!(
            self,
            F::CovarPop
                | F::CovarSamp
                | F::Corr
                | F::RegrCount
                | F::RegrAvgX
                | F::RegrAvgY
                | F::RegrSxx
                | F::RegrSyy
                | F::RegrSxy
                | F::RegrSlope
                | F::RegrIntercept
                | F::RegrR2
        )
    }

    /// Whether values come out in an order that may be asked for.
    pub fn is_ordered(self) -> bool {
        use AggregateFunction as F;
        matches!(self, F::ArrayAgg | F::StringAgg | F::FirstValue | F::LastValue | F::NthValue)
    }

    /// Whether it makes a difference in which order values come.
    pub fn takes_order(self) -> bool {
        self.is_ordered() || matches!(self, AggregateFunction::MinBy | AggregateFunction::MaxBy)
    }

    /// Whether the order of the values, if any, is that of the argument (`WITHIN GROUP`).
    pub fn is_within_group(self) -> bool {
        use AggregateFunction as F;
        matches!(self, F::PercentileCont | F::PercentileDisc | F::Mode | F::ApproxQuantile)
    }

    /// Whether numbers are kept as buckets.
    pub(super) fn is_sketch(self) -> bool {
        matches!(self, AggregateFunction::ApproxQuantile | AggregateFunction::Histogram)
    }

    /// Whether the state of a group holds the values themselves, so that it grows with their number. `folds`: the rows
    /// become final, which is when a least or greatest one takes the place of the others.
    pub fn keeps_values(self, folds: bool) -> bool {
        use AggregateFunction as F;
        match self {
            F::Min | F::Max => !folds,
            F::PercentileCont | F::PercentileDisc | F::Mode => true,
            _ => self.takes_order(),
        }
    }

    /// Whether seeing a value again cannot change the result.
    pub fn ignores_repetition(self) -> bool {
        use AggregateFunction as F;
        matches!(
            self,
            F::Min
                | F::Max
                | F::BoolAnd
                | F::BoolOr
                | F::BitAnd
                | F::BitOr
                | F::FirstValue
                | F::LastValue
                | F::MinBy
                | F::MaxBy
                | F::ApproxDistinct
        )
    }

    /// Whether a row counts although the argument at this position is NULL.
    pub(super) fn takes_null(self, position: usize, parameters: &AggregateParameters) -> bool {
        use AggregateFunction as F;
        match self {
            F::ArrayAgg | F::FirstValue | F::LastValue | F::NthValue => !parameters.ignore_nulls,
            F::MinBy | F::MaxBy => position == 0,
            F::SingleValue => true,
            _ => false,
        }
    }
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AggregateFunction as F;
        f.write_str(match self {
            F::CountAll | F::Count => "count",
            F::Sum => "sum",
            F::Min => "min",
            F::Max => "max",
            F::Avg => "avg",
            F::VarPop => "var_pop",
            F::VarSamp => "var_samp",
            F::StddevPop => "stddev_pop",
            F::StddevSamp => "stddev_samp",
            F::BoolAnd => "bool_and",
            F::BoolOr => "bool_or",
            F::BitAnd => "bit_and",
            F::BitOr => "bit_or",
            F::BitXor => "bit_xor",
            F::CovarPop => "covar_pop",
            F::CovarSamp => "covar_samp",
            F::Corr => "corr",
            F::RegrCount => "regr_count",
            F::RegrAvgX => "regr_avgx",
            F::RegrAvgY => "regr_avgy",
            F::RegrSxx => "regr_sxx",
            F::RegrSyy => "regr_syy",
            F::RegrSxy => "regr_sxy",
            F::RegrSlope => "regr_slope",
            F::RegrIntercept => "regr_intercept",
            F::RegrR2 => "regr_r2",
            F::PercentileCont => "percentile_cont",
            F::PercentileDisc => "percentile_disc",
            F::Mode => "mode",
            F::ArrayAgg => "array_agg",
            F::StringAgg => "string_agg",
            F::FirstValue => "first_value",
            F::LastValue => "last_value",
            F::NthValue => "nth_value",
            F::MinBy => "min_by",
            F::MaxBy => "max_by",
            F::SingleValue => "single_value",
            F::ApproxDistinct => "approx_distinct",
            F::ApproxQuantile => "approx_quantile",
            F::Histogram => "histogram",
        })
    }
}
