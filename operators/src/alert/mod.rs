//! Alerts: not a message for each finding but one story for each behaviour, corrected when the chain changes its mind.
//!
//! ```text
//! view ─▶ Finding   new or repeated, how often                      relation alerts
//!      └▶ Story     active → cooling → resolved, severity, reasons  relation alert_groups
//!           └▶ Notification   what a sink is to tell, and when      relation deliveries
//! ```
//! Each is a state machine for each key ([`timeline`]): its rows are a function of the canonical chain's history,
//! block by block, and of nothing else; so a replay gives the alerts that a live run gave, and a reorg takes back
//! exactly what the lost blocks had caused.
//!
//! Read in this order: [`timeline`], [`signal`] (what a row of the view says), [`story`], [`notification`].

mod changes;
mod dispatch;
pub mod finding;
mod horizon;
mod lifecycle;
mod live;
mod machine;
pub mod notification;
mod notification_rows;
pub mod rate_limit;
mod real;
mod saved;
pub mod signal;
pub mod story;
mod story_rows;
pub mod template;
pub mod timeline;

pub use real::Real;
pub use story_rows::{CHANGE, StoryRow, changes_schema};
