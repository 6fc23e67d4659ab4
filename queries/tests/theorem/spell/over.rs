//! Window functions and orders.

use super::{Column, Kind, Speller, list, of_kind, pickable, several, summed};
use crate::ast::{Bound, Frame, Order, Over, OverCall, Pick, Units};

/// The keys of an order, each column once and none of those that are known.
fn keys(order: &[Order], scope: &[Column], known: &[&str]) -> Vec<String> {
    let mut known = known.to_vec();
    let mut keys = Vec::new();
    for key in order {
        // DataFusion has no ranges of hashes, not even without a distance.
        let column = pickable(scope, key.column).filter(|column| column.kind != Kind::Hash);
        let Some(column) = column.filter(|column| !known.contains(&column.sql.as_str())) else { continue };
        known.push(&column.sql);
        let direction = if key.descending { " DESC" } else { "" };
        let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
        keys.push(format!("{}{direction} NULLS {nulls}", column.sql));
    }
    keys
}

/// The order behind columns that are in it already, with all the rest behind it, so that rows of one place are the
/// same.
pub(super) fn total(order: &[Order], scope: &[Column], before: &[Column], rest: &[Column]) -> Vec<String> {
    let before: Vec<&str> = before.iter().map(|column| column.sql.as_str()).collect();
    let mut keys = keys(order, scope, &before);
    for column in rest.iter().filter(|column| column.kind != Kind::Approximate) {
        let is_key = keys.iter().any(|key| key.split(' ').next() == Some(column.sql.as_str()));
        if !is_key && !before.contains(&column.sql.as_str()) {
            keys.push(column.sql.clone());
        }
    }
    keys
}

impl Speller {
    /// `f(…) OVER (…)`, beside the first of its SELECT.
    ///
    /// Which of two equal rows comes first is open, and each window may see it its own way: what two windows say of
    /// them together is right in more ways than one. Windows that count rows are therefore all the same one.
    pub(super) fn over_call(&self, call: &OverCall, first: &OverCall, scope: &[Column]) -> Column {
        let (function, kind) = function(self, call, scope);
        let sql = format!("{function} OVER ({})", window(call, first, scope));
        // DataFusion takes the largest value so far for one that is in order, without asking where the order has its
        // NULLs, and then leaves out a sort that is needed. What is computed of it has no order.
        let is_extreme = matches!(call.function, Over::Min | Over::Max);
        let sql = if is_extreme && !self.is_ours() { format!("nullif({sql}, NULL)") } else { sql };
        Column { sql, kind, base: String::new() }
    }

    /// A rank that QUALIFY looks at.
    pub(super) fn rank(&self, which: u8, call: &OverCall, scope: &[Column]) -> String {
        let partition = partition(&call.partition, scope);
        let keys = keys(&call.order, scope, &[]).join(", ");
        let total = total(&call.order, scope, &[], scope).join(", ");
        match which {
            _ if keys.is_empty() => format!("row_number() OVER ({partition}ORDER BY {total})"),
            0 => format!("row_number() OVER ({partition}ORDER BY {total})"),
            1 => format!("rank() OVER ({partition}ORDER BY {keys})"),
            _ => format!("dense_rank() OVER ({partition}ORDER BY {keys})"),
        }
    }
}

fn partition(partition: &[Pick], scope: &[Column]) -> String {
    let columns = several(scope, partition);
    if columns.is_empty() { String::new() } else { format!("PARTITION BY {} ", list(&columns)) }
}

fn function(speller: &Speller, call: &OverCall, scope: &[Column]) -> (String, Kind) {
    let number = call.number;
    let any = pickable(scope, call.argument);
    let of = |kinds: &[Kind]| of_kind(scope, call.argument, kinds);
    let plain = |name: &str, kind: Kind| (format!("{name}()"), kind);
    let counted = || ("count(*)".to_owned(), Kind::Int);
    let with = |name: &str, column: Option<&Column>, more: &str| match column {
        Some(column) => (format!("{name}({}{more})", column.sql), column.kind),
        None => counted(),
    };
    let ordered = [Kind::Int, Kind::Sum, Kind::Float, Kind::Text, Kind::Time, Kind::Date];
    match call.function {
        Over::RowNumber => plain("row_number", Kind::Rank),
        Over::Rank => plain("rank", Kind::Rank),
        Over::DenseRank => plain("dense_rank", Kind::Rank),
        Over::PercentRank => plain("percent_rank", Kind::Approximate),
        Over::CumeDist => plain("cume_dist", Kind::Approximate),
        Over::Ntile => (format!("ntile({number})"), Kind::Rank),
        Over::Lag | Over::Lead => {
            let name = if call.function == Over::Lag { "lag" } else { "lead" };
            let value = if number.is_multiple_of(2) { i8::try_from(number).ok() } else { None };
            let value = any.zip(value).and_then(|(column, value)| speller.literal(column.kind, value));
            let value = value.map_or_else(String::new, |value| format!(", {value}"));
            with(name, any, &format!(", {number}{value}"))
        }
        Over::First => with("first_value", any, ""),
        Over::Last => with("last_value", any, ""),
        Over::Nth => with("nth_value", any, &format!(", {number}")),
        Over::CountAll => counted(),
        Over::Count => (with("count", any, "").0, Kind::Int),
        Over::Sum => {
            let (text, kind) = with("sum", of(&[Kind::Int, Kind::Sum, Kind::Float]), "");
            (text, summed(kind))
        }
        Over::Min => with("min", of(&ordered), ""),
        Over::Max => with("max", of(&ordered), ""),
        Over::Average => (with("avg", of(&[Kind::Int, Kind::Float]), "").0, Kind::Approximate),
    }
}

fn is_positional(function: Over) -> bool {
    use Over as O;
    matches!(function, O::RowNumber | O::Ntile | O::Lag | O::Lead | O::First | O::Last | O::Nth)
}

fn has_frame(function: Over) -> bool {
    use Over as O;
    let values = matches!(function, O::First | O::Last | O::Nth);
    values || matches!(function, O::CountAll | O::Count | O::Sum | O::Min | O::Max | O::Average)
}

fn window(call: &OverCall, first: &OverCall, scope: &[Column]) -> String {
    let frame = call.frame.as_ref().filter(|_| has_frame(call.function));
    let distant = |frame: &Frame| [frame.start, frame.end].iter().flatten().any(|distance| *distance != 0);
    let distances = frame.filter(|frame| frame.units == Units::Range && distant(frame));
    if let Some(frame) = distances.filter(|_| !is_positional(call.function)) {
        // A distance is one of the values that order.
        let column = call.order.iter().find_map(|order| Some((of_kind(scope, order.column, &[Kind::Int])?, order)));
        if let Some((column, order)) = column {
            let direction = if order.descending { " DESC" } else { "" };
            let nulls = if order.nulls_first { "FIRST" } else { "LAST" };
            return format!(
                "{}ORDER BY {}{direction} NULLS {nulls} {}",
                partition(&call.partition, scope),
                column.sql,
                spelled(frame, frame.units)
            );
        }
    }
    let units = match frame {
        Some(_) if distances.is_some() => Some(Units::Rows),
        Some(frame) => Some(frame.units),
        None => None,
    };
    let by_row = is_positional(call.function) || units == Some(Units::Rows);
    let (partitioned, order) = if by_row {
        (&first.partition, total(&first.order, scope, &[], scope))
    } else {
        (&call.partition, keys(&call.order, scope, &[]))
    };
    let (partition, order) = (partition(partitioned, scope), order.join(", "));
    let frame = frame.zip(units).map_or_else(String::new, |(frame, units)| format!(" {}", spelled(frame, units)));
    if order.is_empty() { partition } else { format!("{partition}ORDER BY {order}{frame}") }
}

fn spelled(frame: &Frame, units: Units) -> String {
    let (start, end) = match (frame.start, frame.end) {
        (Some(start), Some(end)) => (Some(start.min(end)), Some(start.max(end))),
        other => other,
    };
    let bound = |bound: Bound, otherwise: &str| match bound {
        None => otherwise.to_owned(),
        Some(0) => "CURRENT ROW".to_owned(),
        Some(distance) if distance < 0 => format!("{} PRECEDING", distance.unsigned_abs()),
        Some(distance) => format!("{distance} FOLLOWING"),
    };
    let units = match units {
        Units::Rows => "ROWS",
        Units::Range => "RANGE",
        Units::Groups => "GROUPS",
    };
    format!("{units} BETWEEN {} AND {}", bound(start, "UNBOUNDED PRECEDING"), bound(end, "UNBOUNDED FOLLOWING"))
}
