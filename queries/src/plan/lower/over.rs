//! Window functions: `f(…) OVER (PARTITION BY … ORDER BY … frame)`.

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{NullTreatment, Sort as SortExpr, WindowFunction};
use datafusion_expr::{Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use highwater_operators::over::{Bound, Distance, Frame, OverFunction, OverSpec, Units};

use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{Node, NodeKind, SortKey};
use super::super::relational::{OverCall, OverNode};
use super::super::window::interval_ms;
use super::aggregate::{duration, position_in};
use super::scalar::{Computed, column_of, is_time, keep_columns, moved, project};
use super::{Lower, Lowered, Lowerer};
use crate::diagnostic::{Code, Diagnostic};

/// Calls over one partition and order.
struct Group<'p> {
    partition: &'p [Expr],
    sort: &'p [SortExpr],
    /// The calls, and which column of the window node each is.
    calls: Vec<(&'p WindowFunction, usize)>,
}

/// The input of an operator with the columns that it reads beside those of the plan.
struct Prepared<'p> {
    columns: Vec<Computed>,
    schema: &'p DFSchema,
    facts: &'p Facts,
}

impl Prepared<'_> {
    fn place(&mut self, lowerer: &Lowerer<'_>, expr: &Expr) -> Lower<usize> {
        if let Some(column) = column_of(expr, self.schema) {
            return Ok(column);
        }
        self.columns.push(lowerer.computed(expr, self.schema, self.facts)?);
        Ok(self.columns.len() - 1)
    }
}

impl Lowerer<'_> {
    /// All calls of a window node, operator by operator; columns as the node has them.
    pub(super) fn over(&mut self, window: &Window) -> Lower<Lowered> {
        let mut current = self.lower(&window.input)?;
        let schema = window.input.schema();
        let width = schema.fields().len();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (index, expr) in window.window_expr.iter().enumerate() {
            let Expr::WindowFunction(call) = unaliased(expr) else {
                return Err(self.unsupported("this window function", "over"));
            };
            let (partition, sort) = (call.params.partition_by.as_slice(), call.params.order_by.as_slice());
            match groups.iter_mut().find(|group| group.partition == partition && group.sort == sort) {
                Some(group) => group.calls.push((call, width + index)),
                None => groups.push(Group { partition, sort, calls: vec![(call, width + index)] }),
            }
        }
        // Where each column of the window node is.
        let mut places: Vec<usize> = (0..width).chain(std::iter::repeat_n(0, window.window_expr.len())).collect();
        for group in &groups {
            let before = current.width();
            current = self.over_group(current, schema, group)?;
            for (index, (_, column)) in group.calls.iter().enumerate() {
                places[*column] = before + index;
            }
        }
        let shown = self.as_fields(&current, places, window.schema.fields())?;
        Ok(project(current, shown))
    }

    /// One operator; its columns are those of the input, then one a call.
    fn over_group(&mut self, input: Lowered, schema: &DFSchema, group: &Group<'_>) -> Lower<Lowered> {
        let width = input.width();
        let facts = input.facts.clone();
        let mut prepared = Prepared { columns: keep_columns(&input, 0..width), schema, facts: &facts };
        let mut partition = Vec::with_capacity(group.partition.len());
        for expr in group.partition {
            partition.push(prepared.place(self, expr)?);
        }
        let mut sort = Vec::with_capacity(group.sort.len());
        for key in group.sort {
            let column = prepared.place(self, &key.expr)?;
            sort.push(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        let mut calls = Vec::with_capacity(group.calls.len());
        for (index, (call, _)) in group.calls.iter().enumerate() {
            calls.push(self.over_call(call, &mut prepared, &sort, index)?);
        }
        let (closing, bound) = self.partition_closing(&mut prepared, &mut partition, group.partition)?;
        let bound = bound.or_else(|| facts.bound.clone());
        let names: Vec<&str> = partition.iter().map(|column| prepared.columns[*column].field.name().as_str()).collect();
        let key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let known = over_facts(&facts, &prepared.columns, &partition, calls.len());
        let columns = prepared.columns;
        let id = self.id("over");
        self.keep(&id, "over", key, bound, "over")?;
        let ready = if columns.len() > width { project(input, columns) } else { input };
        let ready_width = ready.schema().fields().len();
        let spec = OverSpec {
            input: ready.schema().clone(),
            partition: partition.clone(),
            sort: sort.iter().map(|key| (key.column, SortOptions::default())).collect(),
            calls: calls.clone(),
            closing,
        };
        let schema = spec.output_schema().map_err(|error| self.refused_call(&calls, &error.to_string()))?;
        let node = OverNode { id, input: ready.node, partition, sort, calls, closing };
        let count = node.calls.len();
        let mut all = known;
        let node = Node { kind: NodeKind::Over(Box::new(node)), schema };
        // The columns in between are only for the operator.
        let calls_facts = all.columns.split_off(width);
        all.columns.extend(std::iter::repeat_n(ColumnFacts::default(), ready_width - width));
        all.columns.extend(calls_facts);
        let whole = Lowered { node, facts: all };
        let kept = keep_columns(&whole, (0..width).chain(ready_width..ready_width + count));
        Ok(project(whole, kept))
    }

    fn refused_call(&self, calls: &[OverCall], why: &str) -> Diagnostic {
        let word = calls.first().and_then(|call| call.name.split('(').next()).unwrap_or_default();
        Diagnostic::new(Code::Unsupported, why.to_owned(), self.place.find(word))
    }

    /// Where a partition says when it is final, that instant as one of its columns.
    fn partition_closing(
        &self,
        prepared: &mut Prepared<'_>,
        partition: &mut Vec<usize>,
        exprs: &[Expr],
    ) -> Lower<(Option<usize>, Option<String>)> {
        let timed = |column: &usize| Some((prepared.columns[*column].facts.time?.offset_ms, *column));
        let Some((offset_ms, column)) = partition.iter().filter_map(timed).min() else { return Ok((None, None)) };
        let name = prepared.columns[column].field.name().clone();
        let later = if offset_ms == 0 { String::new() } else { format!(" + {}", duration(offset_ms)) };
        let bound = Some(format!("partitions until {name}{later} is final"));
        if offset_ms == 0 && is_time(prepared.columns[column].field.data_type()) {
            return Ok((Some(position_in(partition, column)), bound));
        }
        let at = partition.iter().position(|known| *known == column).unwrap_or_default();
        let Some(expr) = exprs.get(at) else { return Ok((None, None)) };
        let instant = moved(expr.clone(), offset_ms, prepared.schema);
        let computed = self.computed(&instant, prepared.schema, prepared.facts)?;
        let field = computed.field.clone().with_name("final_at");
        prepared.columns.push(Computed { field, ..computed });
        partition.push(prepared.columns.len() - 1);
        Ok((Some(partition.len() - 1), bound))
    }

    fn over_call(
        &self,
        call: &WindowFunction,
        prepared: &mut Prepared<'_>,
        sort: &[SortKey],
        index: usize,
    ) -> Lower<OverCall> {
        let params = &call.params;
        let name = call.fun.name().to_owned();
        if params.distinct {
            return Err(self.unsupported(&format!("{name}(DISTINCT …) OVER"), &name));
        }
        let mut arguments = Vec::new();
        let function = self.over_function(call, prepared, &mut arguments)?;
        let filter = params.filter.as_ref().map(|filter| prepared.place(self, filter)).transpose()?;
        let frame = self.frame(&params.window_frame, sort, prepared, &name)?;
        let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        Ok(OverCall { function, arguments, filter, frame, ignore_nulls, name: format!("{name}({index})") })
    }

    fn over_function(
        &self,
        call: &WindowFunction,
        prepared: &mut Prepared<'_>,
        arguments: &mut Vec<usize>,
    ) -> Lower<OverFunction> {
        use OverFunction as F;
        let args = call.params.args.as_slice();
        let name = call.fun.name();
        let mut first = |arguments: &mut Vec<usize>| -> Lower<()> {
            if let Some(argument) = args.first() {
                arguments.push(prepared.place(self, argument)?);
            }
            Ok(())
        };
        let number = |position: usize, default: i64| match args.get(position) {
            None => Ok(default),
            Some(expr) => integer(expr)
                .ok_or_else(|| self.unsupported(&format!("{name} with a number that is no constant integer"), name)),
        };
        let place = |position: usize| match number(position, 1)? {
            place if place >= 1 => Ok(place),
            place => {
                let message = format!("{name} counts from 1, and {place} is before that");
                Err(Diagnostic::new(Code::TypeMismatch, message, self.place.find(name)))
            }
        };
        let of_aggregate = matches!(call.fun, WindowFunctionDefinition::AggregateUDF(_));
        Ok(match (of_aggregate, name) {
            (_, "row_number") => F::RowNumber,
            (_, "rank") => F::Rank,
            (_, "dense_rank") => F::DenseRank,
            (_, "percent_rank") => F::PercentRank,
            (_, "cume_dist") => F::CumeDist,
            (_, "ntile") => F::Ntile(place(0)?),
            (_, "lag" | "lead") => {
                let offset = number(1, 1)?;
                first(arguments)?;
                match args.get(2) {
                    Some(Expr::Literal(value, _)) if value.is_null() => {}
                    Some(default) => {
                        let wanted = prepared.columns[arguments[0]].field.data_type().clone();
                        let default = Expr::Cast(datafusion_expr::Cast::new(Box::new(default.clone()), wanted));
                        arguments.push(prepared.place(self, &default)?);
                    }
                    None => {}
                }
                if name == "lag" { F::Lag { offset } } else { F::Lead { offset } }
            }
            (_, "first_value") => {
                first(arguments)?;
                F::FirstValue
            }
            (_, "last_value") => {
                first(arguments)?;
                F::LastValue
            }
            (_, "nth_value") => {
                first(arguments)?;
                F::NthValue(place(1)?)
            }
            (true, "count") => match args.first() {
                Some(argument) if !counts_rows(argument) => {
                    first(arguments)?;
                    F::Count
                }
                _ => F::CountAll,
            },
            (true, "sum") => {
                first(arguments)?;
                F::Sum
            }
            (true, "avg") => {
                first(arguments)?;
                F::Avg
            }
            (true, "min") => {
                first(arguments)?;
                F::Min
            }
            (true, "max") => {
                first(arguments)?;
                F::Max
            }
            (_, "ewma") => {
                first(arguments)?;
                let alpha = args.get(1).and_then(float).filter(|alpha| (0.0..=1.0).contains(alpha));
                let alpha =
                    alpha.ok_or_else(|| self.unsupported("ewma without a constant weight from 0 to 1", name))?;
                F::Ewma { alpha }
            }
            _ => {
                return Err(self.unsupported(&format!("{name}(…) OVER"), name).with_hint(
                    "ranks, lag, lead, first_value, last_value, nth_value, count, sum, avg, min, max and ewma have OVER",
                ));
            }
        })
    }

    fn frame(&self, frame: &WindowFrame, sort: &[SortKey], prepared: &Prepared<'_>, name: &str) -> Lower<Frame> {
        let units = match frame.units {
            WindowFrameUnits::Rows => Units::Rows,
            WindowFrameUnits::Range => Units::Range,
            WindowFrameUnits::Groups => Units::Groups,
        };
        let by = match (units, sort) {
            (Units::Range, [key]) => Some(prepared.columns[key.column].field.data_type().clone()),
            _ => None,
        };
        let refused = || self.unsupported("a frame with this distance", "over").with_hint(format!("of {name}"));
        let bound = |bound: &WindowFrameBound| -> Lower<Bound> {
            Ok(match bound {
                WindowFrameBound::Preceding(value) if value.is_null() => Bound::UnboundedPreceding,
                WindowFrameBound::Following(value) if value.is_null() => Bound::UnboundedFollowing,
                WindowFrameBound::CurrentRow => Bound::CurrentRow,
                WindowFrameBound::Preceding(value) => {
                    Bound::Preceding(distance(value, units, by.as_ref()).ok_or_else(refused)?)
                }
                WindowFrameBound::Following(value) => {
                    Bound::Following(distance(value, units, by.as_ref()).ok_or_else(refused)?)
                }
            })
        };
        Ok(Frame { units, start: bound(&frame.start_bound)?, end: bound(&frame.end_bound)? })
    }
}

/// Whether `count` of it counts all rows.
fn counts_rows(argument: &Expr) -> bool {
    #[expect(deprecated, reason = "the SQL planner still makes it for count(*)")]
    let all = matches!(argument, Expr::Wildcard { .. });
    all || matches!(argument, Expr::Literal(value, _) if !value.is_null())
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// A whole number of the query.
fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) if value.data_type().is_integer() || value.is_null() => {
            match value.cast_to(&DataType::Int64).ok()? {
                ScalarValue::Int64(number) => number,
                _ => None,
            }
        }
        Expr::Negative(inner) => integer(inner)?.checked_neg(),
        Expr::Cast(cast) => integer(&cast.expr),
        _ => None,
    }
}

fn float(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number,
            _ => None,
        },
        Expr::Cast(cast) => float(&cast.expr),
        _ => None,
    }
}

/// A number of rows or groups, or a distance in the unit of the column that orders (`RANGE`).
fn distance(value: &ScalarValue, units: Units, by: Option<&DataType>) -> Option<Distance> {
    if units != Units::Range {
        return match value.cast_to(&DataType::UInt64).ok()? {
            ScalarValue::UInt64(number) => number.map(Distance::Count),
            _ => None,
        };
    }
    match by {
        // In the units of the column; whole units are what it can be away.
        Some(DataType::Timestamp(unit, _)) => {
            let ms = i128::from(interval_ms(value)?.ok()?);
            Some(Distance::Integer(match unit {
                TimeUnit::Second => ms / 1_000,
                TimeUnit::Millisecond => ms,
                TimeUnit::Microsecond => ms * 1_000,
                TimeUnit::Nanosecond => ms * 1_000_000,
            }))
        }
        Some(DataType::Date32) if interval_ms(value).is_some() => {
            Some(Distance::Integer(i128::from(interval_ms(value)?.ok()?) / 86_400_000))
        }
        Some(DataType::Float64 | DataType::Float32) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(Some(number)) => Some(Distance::Float(number)),
            _ => None,
        },
        Some(decimal @ DataType::Decimal128(_, _)) => match value.cast_to(decimal).ok()? {
            ScalarValue::Decimal128(Some(number), _, _) => Some(Distance::Integer(number)),
            _ => None,
        },
        _ => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(Some(number)) => Some(Distance::Integer(number.into())),
            _ => None,
        },
    }
}

/// A row's answer may change until its partition is final, so only columns of the partition say when.
fn over_facts(input: &Facts, columns: &[Computed], partition: &[usize], calls: usize) -> Facts {
    let of = |(index, facts): (usize, &ColumnFacts)| {
        let within = partition.contains(&index);
        ColumnFacts {
            time: columns[index].facts.time.filter(|_| within),
            number: facts.number.filter(|_| within),
            block: false,
            ..facts.clone()
        }
    };
    let known = input.columns.iter().enumerate().map(of);
    let columns = known.chain(std::iter::repeat_n(ColumnFacts::default(), calls)).collect();
    Facts {
        columns,
        linear: false,
        block_local: false,
        bound: input.bound.clone(),
        key: input.key.clone(),
        order: Vec::new(),
    }
}
