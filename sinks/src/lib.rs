//! Deltas out: what Highwater keeps true goes to a terminal, a file, a folder of Parquet.
//!
//! It owns the form in which views leave: text, JSON lines, Parquet files with their manifest.
//! It must never know: SQL, a chain, how a view is computed. A sink sees the changes of one sealed
//! tick at a time and can always go back to its last checkpoint.
//!
//! Read in this order: [`stdout`] (for people and pipes), [`mod@file`] (durable lines), [`parquet`] (for
//! analysts: snapshots and change logs).
//!
//! What a retraction does: JSON lines say `"op":"retract"`; a Parquet change log gets a row with
//! `_diff = -1`; a snapshot and the final table of a terminal simply no longer hold the row.

use highwater_engine::sink::SinkConnector;

pub mod alert;
pub mod file;
pub mod parquet;
pub mod stdout;

mod byte_order;
mod common;
mod contents;
mod direct;
mod lines;

/// All kinds of sinks, in the order reference pages list them.
pub const SINKS: &[&dyn SinkConnector] = &[
    &stdout::Stdout,
    &file::File,
    &parquet::Parquet,
    &alert::webhook::WEBHOOK,
    &alert::script::SCRIPT,
    &alert::slack::SLACK,
    &alert::discord::DISCORD,
    &alert::telegram::TELEGRAM,
    &alert::email::EMAIL,
    &alert::pagerduty::PAGERDUTY,
    &alert::opsgenie::OPSGENIE,
    &alert::alertmanager::ALERTMANAGER,
];
