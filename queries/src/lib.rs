//! Highwater's SQL: a job file in, a dataflow out; and the `highwater` command.
//!
//! A job is read by [`sql`], planned by [`plan`] (with [`functions`] and, for mistakes,
//! [`diagnostic`]), and turned into operators by [`render`]. Only [`cli`] sees connectors and sinks.
//!
//! This crate must never know: a chain's wire format, a file format of a sink. Read next: the
//! module header of [`plan`].

#[cfg(feature = "cli")]
pub mod cli;
pub mod diagnostic;
pub mod functions;
pub mod plan;
pub mod render;
mod room;
pub mod session;
pub mod sql;
pub mod unit_test;
