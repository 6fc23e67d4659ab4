//! An alert after planning: plain data, as the rest of a plan.

use highwater_operators::alert::signal::SignalColumns;
use highwater_operators::alert::story::Lifecycle;
use highwater_operators::alert::template::Texts;
use highwater_operators::alert::timeline::Clock;

use super::ir::{JobPlan, NodeKind};

/// An alert.
#[derive(Debug, Clone)]
pub struct PlannedAlert {
    /// Its name.
    pub name: String,
    /// Where the parts of a finding are.
    pub columns: SignalColumns,
    /// When stories begin and end.
    pub lifecycle: Lifecycle,
    /// Its templates.
    pub texts: Texts,
}

impl PlannedAlert {
    /// What a moment is to it: a block, or the end of a row's window.
    pub fn clock(&self) -> Clock {
        if self.columns.time.is_some() { Clock::Row } else { Clock::Block }
    }
}

impl JobPlan {
    /// Whether an alert looks at its view block by block.
    pub fn has_alerts_by_block(&self) -> bool {
        self.views.iter().any(|view| match &view.root.kind {
            NodeKind::Stories { alert, .. } => alert.clock() == Clock::Block,
            _ => false,
        })
    }
}
