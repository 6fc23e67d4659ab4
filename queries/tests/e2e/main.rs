//! The whole of Highwater through its front door: the real binary over recorded and simulated chains.
//!
//! * [`golden`]: every shipped job prints and writes what its golden file says.
//! * [`recorded`]: reorgs that really happened end equal to the canonical chain alone.
//! * [`mainnet`]: real blocks against an independent computation.
//! * [`mev`]: trades and MEV against planted truth and labels, and the theorem over every relation.
//! * [`live`]: the same over scripted nodes, followed while they are reorganised, killed and lied to.
//! * [`bad_input`]: what is wrong is named, and what came before is kept.
//! * [`reload`]: reference tables that change while the job runs.
//! * [`shell`]: SQL by hand over what jobs wrote and over running jobs.
//! * [`state`]: stopping, dying and going on changes nothing.
//! * [`alerts`]: alerts end as those of the canonical chain alone, however they were run.
//! * [`channels`]: alerts to receivers that fail, by a process that is killed.
//! * [`emit`]: when rows go out, and rows that cannot be evaluated.
//! * [`events`]: `CREATE EVENT` and `CREATE FUNCTION` against the tables of built-in decoders.
//! * [`surface`]: the other commands, exit codes, terminals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod alerts;
mod bad_input;
mod chain;
mod channels;
mod command;
mod emit;
mod events;
mod golden;
mod live;
mod live_command;
mod mainnet;
mod mev;
mod recorded;
mod reload;
mod rows;
mod shell;
mod state;
mod surface;
