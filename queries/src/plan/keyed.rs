//! Table functions that keep state: `SESSION(relation, time, gap, key, …)` and
//! `CONNECTED_COMPONENTS(relation, a, b [, hub_limit])`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, ExprSchemable as _, LogicalPlan, UserDefinedLogicalNodeCore};
use highwater_engine::model::wide::timestamp_type;

use super::window::{WINDOW_END, WINDOW_START};

/// What a table function computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Keyed {
    /// Rows of a key that follow each other closely share a window; the expressions are the time and the key.
    Session {
        /// A pause that ends a session, milliseconds.
        gap_ms: i64,
    },
    /// Nodes with the least node of their component; the expressions are the ends of an edge.
    Components {
        /// A node with more neighbours connects nothing.
        hub_limit: Option<usize>,
    },
}

/// A table function over a relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KeyedNode {
    pub(super) input: LogicalPlan,
    pub(super) function: Keyed,
    pub(super) exprs: Vec<Expr>,
    schema: DFSchemaRef,
}

impl KeyedNode {
    pub(super) fn try_new(input: LogicalPlan, function: Keyed, exprs: Vec<Expr>) -> Result<KeyedNode> {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = Vec::new();
        match function {
            Keyed::Session { .. } => {
                let known = input.schema().iter().filter(|(_, field)| !is_bound(field.name()));
                fields.extend(known.map(|(qualifier, field)| (qualifier.cloned(), field.clone())));
                for name in [WINDOW_START, WINDOW_END] {
                    fields.push((None, Arc::new(Field::new(name, timestamp_type(), false))));
                }
            }
            Keyed::Components { .. } => {
                for name in ["node", "component"] {
                    let (_, field) = exprs[0].to_field(input.schema())?;
                    let field = field.as_ref().clone().with_name(name).with_nullable(false);
                    fields.push((None, Arc::new(field)));
                }
            }
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(KeyedNode { input, function, exprs, schema })
    }

    /// The columns of the input that stay, in order.
    pub(super) fn kept(&self) -> Vec<usize> {
        let fields = self.input.schema().fields().iter().enumerate();
        fields.filter(|(_, field)| !is_bound(field.name())).map(|(index, _)| index).collect()
    }
}

fn is_bound(name: &str) -> bool {
    [WINDOW_START, WINDOW_END].contains(&name)
}

impl PartialOrd for KeyedNode {
    /// Nodes have no order worth the name; DataFusion asks for one.
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for KeyedNode {
    fn name(&self) -> &str {
        "Keyed"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.exprs.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        // A filter below would make other sessions, or other components.
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // The columns of `expressions()` are added by the optimizer.
        let kept = match self.function {
            Keyed::Session { .. } => self.kept(),
            Keyed::Components { .. } => Vec::new(),
        };
        Some(vec![output_columns.iter().filter_map(|column| kept.get(*column).copied()).collect()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.function, self.exprs)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => KeyedNode::try_new(input, self.function, exprs),
            None => datafusion_common::internal_err!("a table function has one input"),
        }
    }
}
