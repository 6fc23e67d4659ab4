//! One aggregate call: its columns, its constants, and what cannot be kept up to date.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{AggregateFunction as AggregateExpr, NullTreatment};
use datafusion_expr::{Expr, ExprSchemable as _};

use super::super::facts::Facts;
use super::super::ir::{AggregateCall, AggregateFunction, AggregateParameters, SortKey};
use super::aggregate::Inputs;
use super::{Lower, Lowerer};
use crate::diagnostic::{Code, Diagnostic};
use crate::functions::{self, Constants, Definition};

impl Lowerer<'_> {
    /// Lowers a call of a group; `field` is its column in the logical plan.
    pub(super) fn call(
        &self,
        expr: &Expr,
        field: &FieldRef,
        schema: &DFSchema,
        facts: &Facts,
        inputs: &mut Inputs<'_>,
    ) -> Lower<AggregateCall> {
        let Expr::AggregateFunction(call) = expr.clone().unalias() else {
            return Err(self.unsupported("this aggregate", "group"));
        };
        let name = call.func.name();
        let Some(definition) = functions::definition(&call.func) else {
            return Err(self.unsupported(&format!("the aggregate {name}"), name));
        };
        let mut function = definition.function;
        let arity = function.arity().min(call.params.args.len());
        let (mut values, constants) = call.params.args.split_at(arity);
        let parameters = self.parameters(definition, constants, call.params.null_treatment, schema)?;
        if function == AggregateFunction::Count && !call.params.distinct {
            // What is never NULL need not be read to be counted.
            if values.iter().all(|argument| never_null(argument, schema)) {
                (function, values) = (AggregateFunction::CountAll, &[]);
            }
        }
        let mut arguments = Vec::with_capacity(values.len());
        for argument in values {
            arguments.push(inputs.add(self, argument, facts)?);
        }
        let order_by = self.call_order(definition, &call, &arguments, facts, inputs)?;
        let filter = match &call.params.filter {
            Some(filter) => Some(inputs.add(self, filter, facts)?),
            None => None,
        };
        let distinct = call.params.distinct && !function.ignores_repetition();
        let field = field.as_ref().clone();
        let mut call =
            AggregateCall { function, arguments, distinct, order_by, parameters, filter, field: field.into() };
        let text = call_text(definition, &call, inputs);
        call.field = Arc::new(call.field.as_ref().clone().with_name(text));
        Ok(call)
    }

    /// The order of the values, as far as the function has one.
    fn call_order(
        &self,
        definition: &Definition,
        call: &AggregateExpr,
        arguments: &[usize],
        facts: &Facts,
        inputs: &mut Inputs<'_>,
    ) -> Lower<Vec<SortKey>> {
        let (function, params, name) = (definition.function, &call.params, definition.name);
        if function.is_within_group() && call.func.supports_within_group_clause() && params.distinct {
            let mistake = self.unsupported(&format!("{name}(DISTINCT …)"), name);
            return Err(mistake.with_hint("aggregate over SELECT DISTINCT in a subquery"));
        }
        if !function.takes_order() && !function.is_within_group() {
            // As in PostgreSQL an order may be given where it makes no difference.
            return Ok(Vec::new());
        }
        use AggregateFunction as F;
        if params.order_by.is_empty() && matches!(function, F::FirstValue | F::LastValue | F::NthValue) {
            let mistake = self.unsupported(&format!("{name} without an order of its own"), name);
            return Err(mistake.with_hint(format!("write {name}(x ORDER BY y), or min_by(x, y)")));
        }
        let mut order = Vec::with_capacity(params.order_by.len());
        for sort in &params.order_by {
            // WITHIN GROUP orders the argument, which may have been cast since.
            let column = match arguments {
                [argument, ..] if function.is_within_group() => *argument,
                _ => inputs.add(self, &sort.expr, facts)?,
            };
            if params.distinct && !arguments.contains(&column) {
                let what = format!("{name}(DISTINCT x ORDER BY y)");
                let mistake = self.unsupported(&what, name);
                return Err(mistake.with_hint("values that are shown once can only be ordered by themselves"));
            }
            if order.iter().all(|known: &SortKey| known.column != column) {
                order.push(SortKey { column, descending: !sort.asc, nulls_first: sort.nulls_first });
            }
        }
        Ok(order)
    }

    fn parameters(
        &self,
        definition: &Definition,
        constants: &[Expr],
        nulls: Option<NullTreatment>,
        schema: &DFSchema,
    ) -> Lower<AggregateParameters> {
        let name = definition.name;
        let mut parameters = AggregateParameters {
            ignore_nulls: nulls == Some(NullTreatment::IgnoreNulls),
            ..AggregateParameters::default()
        };
        let mut values = Vec::with_capacity(constants.len());
        for constant in constants {
            values.push(self.constant(name, constant, schema)?);
        }
        let mut values = values.into_iter();
        match definition.constants {
            Constants::None => {}
            Constants::Separator => {
                if let Some(ScalarValue::Utf8(Some(separator))) = values.next() {
                    parameters.separator = separator;
                }
            }
            Constants::Position => match values.next() {
                Some(ScalarValue::Int64(Some(position))) if position != 0 => parameters.position = position,
                _ => return Err(self.bad_constant(name, "the position must be a whole number that is not 0")),
            },
            Constants::Fraction | Constants::FractionAndError => {
                parameters.fraction = double(values.next(), &(0.0..=1.0))
                    .ok_or_else(|| self.bad_constant(name, "the fraction must be a number from 0 to 1"))?;
            }
            Constants::Error => {}
        }
        if values.len() > 0 {
            let error = double(values.next(), &AggregateParameters::ERRORS);
            parameters.relative_error = error
                .ok_or_else(|| self.bad_constant(name, "the relative error must be a number from 0.00001 to 0.5"))?;
        }
        Ok(parameters)
    }

    /// The value of an argument that must be the same for all rows.
    fn constant(&self, name: &str, expr: &Expr, schema: &DFSchema) -> Lower<ScalarValue> {
        if !expr.column_refs().is_empty() {
            return Err(self.bad_constant(name, &format!("{expr} must be a constant")));
        }
        let expression = self.physical(expr, schema)?;
        functions::constant_value(&expression).map_err(|error| self.place.diagnose(&error))
    }

    fn bad_constant(&self, name: &str, what: &str) -> Diagnostic {
        Diagnostic::new(Code::TypeMismatch, format!("in {name}, {what}"), self.place.find(name))
    }
}

fn double(value: Option<ScalarValue>, allowed: &std::ops::RangeInclusive<f64>) -> Option<f64> {
    match value {
        Some(ScalarValue::Float64(Some(value))) if allowed.contains(&value) => Some(value),
        _ => None,
    }
}

fn never_null(argument: &Expr, schema: &DFSchema) -> bool {
    matches!(argument.nullable(schema), Ok(false))
}

/// A call as people write it.
fn call_text(definition: &Definition, call: &AggregateCall, inputs: &Inputs<'_>) -> String {
    let column = |column: &usize| inputs.field(*column).name().clone();
    let mut arguments: Vec<String> = call.arguments.iter().map(column).collect();
    if call.function == AggregateFunction::CountAll {
        arguments.push("*".to_owned());
    }
    let parameters = &call.parameters;
    match definition.constants {
        Constants::None => {}
        Constants::Separator => arguments.push(format!("'{}'", parameters.separator.replace('\'', "''"))),
        Constants::Position => arguments.push(parameters.position.to_string()),
        Constants::Fraction => arguments.push(parameters.fraction.to_string()),
        Constants::FractionAndError => {
            arguments.extend([parameters.fraction.to_string(), parameters.relative_error.to_string()]);
        }
        Constants::Error => arguments.push(parameters.relative_error.to_string()),
    }
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut order = Vec::with_capacity(call.order_by.len());
    for key in &call.order_by {
        let direction = if key.descending { " DESC" } else { "" };
        // What is not said is NULL last, or first where the order descends.
        let nulls = match (key.nulls_first, key.descending) {
            (true, false) => " NULLS FIRST",
            (false, true) => " NULLS LAST",
            _ => "",
        };
        order.push(format!("{}{direction}{nulls}", column(&key.column)));
    }
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let nulls = if parameters.ignore_nulls { " IGNORE NULLS" } else { "" };
    let filter = call.filter.map(|filter| format!(" FILTER (WHERE {})", column(&filter))).unwrap_or_default();
    format!("{}({distinct}{}{order}){nulls}{filter}", definition.name, arguments.join(", "))
}
