//! The functions a query may use, built once for the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion_expr::planner::{ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::functions;

/// All functions by name.
pub(super) struct Registry {
    pub(super) scalar: HashMap<String, Arc<ScalarUDF>>,
    pub(super) aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub(super) window: HashMap<String, Arc<WindowUDF>>,
    pub(super) expressions: Vec<Arc<dyn ExprPlanner>>,
    pub(super) types: Arc<dyn TypePlanner>,
}

/// The one registry: building it costs more than planning a job.
pub(super) fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(build);
    &REGISTRY
}

fn build() -> Registry {
    let mut scalar = HashMap::new();
    for function in functions::scalar_functions() {
        for name in function.aliases() {
            scalar.insert(name.clone(), function.clone());
        }
        scalar.insert(function.name().to_owned(), function);
    }
    let mut aggregate = HashMap::new();
    for function in functions::aggregate_functions() {
        for name in function.aliases() {
            aggregate.insert(name.clone(), function.clone());
        }
        aggregate.insert(function.name().to_owned(), function);
    }
    // Taken out by the analyzer: it tells which grouping a row is of.
    let grouping = datafusion_functions_aggregate::grouping::grouping_udaf();
    aggregate.insert(grouping.name().to_owned(), grouping);
    let window = datafusion_functions_window::all_default_window_functions()
        .into_iter()
        .chain(functions::window_functions())
        .map(|function| (function.name().to_owned(), function))
        .collect();
    Registry { scalar, aggregate, window, expressions: functions::expr_planners(), types: functions::type_planner() }
}

impl Registry {
    /// All names that can be called, for suggestions.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.scalar.keys().chain(self.aggregate.keys()).chain(self.window.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
