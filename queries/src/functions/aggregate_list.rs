//! The aggregate functions: their names, what computes them, and what the reference page says.

use highwater_operators::aggregate::AggregateFunction;

/// The constants a call has after its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Constants {
    /// None.
    None,
    /// A fraction from 0 to 1; it may stand before the ORDER BY of a WITHIN GROUP.
    Fraction,
    /// A fraction, and if wanted a relative error.
    FractionAndError,
    /// If wanted a relative error.
    Error,
    /// What stands between texts.
    Separator,
    /// A position, counted from 1, or from -1 backwards.
    Position,
}

impl Constants {
    /// How many there may be.
    pub(crate) fn allowed(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Constants::None => 0..=0,
            Constants::Fraction | Constants::Separator | Constants::Position => 1..=1,
            Constants::FractionAndError => 1..=2,
            Constants::Error => 0..=1,
        }
    }
}

/// One aggregate function.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) function: AggregateFunction,
    pub(crate) constants: Constants,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
}

const fn plain(
    name: &'static str,
    aliases: &'static [&'static str],
    function: AggregateFunction,
    signature: &'static str,
    doc: &'static str,
) -> Definition {
    Definition { name, aliases, function, constants: Constants::None, signature, doc }
}

const fn with(constants: Constants, definition: Definition) -> Definition {
    Definition { constants, ..definition }
}

use AggregateFunction as F;

/// What a query may call.
pub(crate) static DEFINITIONS: &[Definition] = &[
    plain(
        "count",
        &[],
        F::Count,
        "count(*) or count([DISTINCT] x) -> BIGINT",
        "How many rows, or how many (distinct) values that are not NULL.",
    ),
    plain(
        "sum",
        &[],
        F::Sum,
        "sum([DISTINCT] x) -> BIGINT (of integers up to 32 bits), DECIMAL(38, 0), DECIMAL(38, s), UINT256, INT256 or DOUBLE",
        "The sum: exact and wide enough for integers, of the type itself for UINT256 and INT256 (beyond it is an \
         error row), DOUBLE for DOUBLE. NULL over no value.",
    ),
    plain(
        "min",
        &["any_value"],
        F::Min,
        "min(x) -> the type of x",
        "The least value; bytes compare from the left. NULL over no value. `any_value` is the same, so that it is \
         one value.",
    ),
    plain(
        "max",
        &[],
        F::Max,
        "max(x) -> the type of x",
        "The greatest value; bytes compare from the left. NULL over no value.",
    ),
    plain(
        "avg",
        &["mean"],
        F::Avg,
        "avg([DISTINCT] x) -> DOUBLE",
        "The mean, divided only at output, so that a reorg leaves no rounding behind. NULL over no value.",
    ),
    plain(
        "var_pop",
        &["var_population"],
        F::VarPop,
        "var_pop([DISTINCT] x) -> DOUBLE",
        "The variance of the values as the whole population.",
    ),
    plain(
        "var_samp",
        &["var", "var_sample", "variance"],
        F::VarSamp,
        "var_samp([DISTINCT] x) -> DOUBLE",
        "The variance of the values as a sample; NULL over fewer than two.",
    ),
    plain(
        "stddev_pop",
        &[],
        F::StddevPop,
        "stddev_pop([DISTINCT] x) -> DOUBLE",
        "The standard deviation of the values as the whole population.",
    ),
    plain(
        "stddev_samp",
        &["stddev"],
        F::StddevSamp,
        "stddev_samp([DISTINCT] x) -> DOUBLE",
        "The standard deviation of the values as a sample; NULL over fewer than two.",
    ),
    plain(
        "bool_and",
        &["every"],
        F::BoolAnd,
        "bool_and(x) -> BOOLEAN",
        "Whether every value that is not NULL is true. Also called `every`.",
    ),
    plain("bool_or", &[], F::BoolOr, "bool_or(x) -> BOOLEAN", "Whether any value is true."),
    plain(
        "bit_and",
        &[],
        F::BitAnd,
        "bit_and(x) -> the type of x",
        "The bits set in every value: integers, UINT256, INT256. NULL over no value.",
    ),
    plain(
        "bit_or",
        &[],
        F::BitOr,
        "bit_or(x) -> the type of x",
        "The bits set in any value: integers, UINT256, INT256. NULL over no value.",
    ),
    plain(
        "bit_xor",
        &[],
        F::BitXor,
        "bit_xor([DISTINCT] x) -> the type of x",
        "The bits set in an odd number of values: integers, UINT256, INT256. NULL over no value.",
    ),
    plain(
        "corr",
        &[],
        F::Corr,
        "corr(y, x) -> DOUBLE",
        "Pearson's correlation, from -1 to 1; NULL where one side is constant. This and the functions below skip \
         pairs with a NULL, and sum exactly, so that nothing is lost where values are large and differ little.",
    ),
    plain("covar_pop", &[], F::CovarPop, "covar_pop(y, x) -> DOUBLE", "The covariance of the whole population."),
    plain(
        "covar_samp",
        &["covar"],
        F::CovarSamp,
        "covar_samp(y, x) -> DOUBLE",
        "The covariance of a sample; NULL over fewer than two pairs.",
    ),
    plain(
        "regr_slope",
        &[],
        F::RegrSlope,
        "regr_slope(y, x) -> DOUBLE",
        "The slope of the least-squares line; NULL where x is constant.",
    ),
    plain(
        "regr_intercept",
        &[],
        F::RegrIntercept,
        "regr_intercept(y, x) -> DOUBLE",
        "Where the least-squares line meets x = 0; NULL where x is constant.",
    ),
    plain(
        "regr_r2",
        &[],
        F::RegrR2,
        "regr_r2(y, x) -> DOUBLE",
        "The square of the correlation; NULL where x is constant, 1 where only y is.",
    ),
    plain("regr_count", &[], F::RegrCount, "regr_count(y, x) -> BIGINT", "How many pairs have no NULL."),
    plain("regr_avgx", &[], F::RegrAvgX, "regr_avgx(y, x) -> DOUBLE", "The mean of x over pairs without NULL."),
    plain("regr_avgy", &[], F::RegrAvgY, "regr_avgy(y, x) -> DOUBLE", "The mean of y over pairs without NULL."),
    plain(
        "regr_sxx",
        &[],
        F::RegrSxx,
        "regr_sxx(y, x) -> DOUBLE",
        "The sum of the squared distances of x from its mean.",
    ),
    plain(
        "regr_syy",
        &[],
        F::RegrSyy,
        "regr_syy(y, x) -> DOUBLE",
        "The sum of the squared distances of y from its mean.",
    ),
    plain(
        "regr_sxy",
        &[],
        F::RegrSxy,
        "regr_sxy(y, x) -> DOUBLE",
        "The sum of the products of the distances of y and x from their means.",
    ),
    plain(
        "median",
        &[],
        F::PercentileCont,
        "median([DISTINCT] x) -> DOUBLE",
        "The middle value, or the mean of the two in the middle: `percentile_cont(x, 0.5)`.",
    ),
    with(
        Constants::Fraction,
        plain(
            "percentile_cont",
            &["quantile_cont"],
            F::PercentileCont,
            "percentile_cont(p) WITHIN GROUP (ORDER BY x [DESC]) or percentile_cont(x, p) -> DOUBLE",
            "The value at the fraction p (a constant from 0 to 1) of the ordered values, between two values in \
             proportion. NULL over no value.",
        ),
    ),
    with(
        Constants::Fraction,
        plain(
            "percentile_disc",
            &["quantile_disc"],
            F::PercentileDisc,
            "percentile_disc(p) WITHIN GROUP (ORDER BY x [DESC]) or percentile_disc(x, p) -> the type of x",
            "The first value whose share of the ordered values reaches p (a constant from 0 to 1).",
        ),
    ),
    plain(
        "mode",
        &[],
        F::Mode,
        "mode() WITHIN GROUP (ORDER BY x [DESC]) or mode(x) -> the type of x",
        "The most frequent value; of several the first in the order, so the least unless DESC is given.",
    ),
    plain(
        "array_agg",
        &[],
        F::ArrayAgg,
        "array_agg([DISTINCT] x [ORDER BY …]) [IGNORE NULLS] -> the type of x[]",
        "All values, NULL included. Values that the order does not tell apart (all, without ORDER BY) are ordered \
         by themselves, so that there is one answer. NULL over no row.",
    ),
    with(
        Constants::Separator,
        plain(
            "string_agg",
            &["listagg"],
            F::StringAgg,
            "string_agg([DISTINCT] x, separator [ORDER BY …]) -> VARCHAR",
            "The texts with the separator (a constant) between; ordered as array_agg. NULL over no value.",
        ),
    ),
    plain(
        "first_value",
        &[],
        F::FirstValue,
        "first_value(x ORDER BY …) [IGNORE NULLS] -> the type of x",
        "The first value of `array_agg(x ORDER BY …)`.",
    ),
    plain(
        "last_value",
        &[],
        F::LastValue,
        "last_value(x ORDER BY …) [IGNORE NULLS] -> the type of x",
        "The last value of `array_agg(x ORDER BY …)`.",
    ),
    with(
        Constants::Position,
        plain(
            "nth_value",
            &[],
            F::NthValue,
            "nth_value([DISTINCT] x, n ORDER BY …) [IGNORE NULLS] -> the type of x",
            "The value at position n (a constant; -1 is the last) of `array_agg(x ORDER BY …)`.",
        ),
    ),
    plain(
        "min_by",
        &["arg_min"],
        F::MinBy,
        "min_by(x, y [ORDER BY …]) -> the type of x",
        "The x of the row with the least y that is not NULL; of several the first in the order, then the least x. Also \
         called `arg_min`.",
    ),
    plain(
        "max_by",
        &["arg_max"],
        F::MaxBy,
        "max_by(x, y [ORDER BY …]) -> the type of x",
        "The x of the row with the greatest y that is not NULL; of several the first in the order, then the least x. \
         Also called `arg_max`.",
    ),
    plain(
        "approx_distinct",
        &["approx_count_distinct"],
        F::ApproxDistinct,
        "approx_distinct(x) -> BIGINT",
        "How many different values, estimated by HyperLogLog with 4,096 registers: the standard error is 1.6 %. \
         State does not grow with the values.",
    ),
    with(
        Constants::FractionAndError,
        plain(
            "approx_quantile",
            &["approx_percentile_cont"],
            F::ApproxQuantile,
            "approx_quantile(x, p [, relative_error]) or approx_quantile(p) WITHIN GROUP (ORDER BY x) -> DOUBLE",
            "`percentile_disc` within a relative error (1 % if not given), from counts in buckets of that width \
             (as DDSketch). State does not grow with the values. Also called `approx_percentile_cont`.",
        ),
    ),
    plain("approx_median", &[], F::ApproxQuantile, "approx_median(x) -> DOUBLE", "`approx_quantile(x, 0.5)`."),
    with(
        Constants::Error,
        plain(
            "histogram",
            &[],
            F::Histogram,
            "histogram(x [, relative_error]) -> STRUCT(low DOUBLE, high DOUBLE, count BIGINT)[]",
            "How many values lie in each bucket, least first; a bucket is at most twice the relative error wide (1 % \
             if not given), as a share of the value. Empty buckets are left out.",
        ),
    ),
];

/// What the planner makes of a subquery that stands for a value; users cannot name it.
pub(crate) static SINGLE_VALUE: Definition = plain(
    "single_value",
    &[],
    F::SingleValue,
    "single_value(x) -> the type of x",
    "The value of the only row; an error row where there are several.",
);
