//! EVM chains: from JSON-RPC text to validated Arrow tables.
//!
//! Read in this order: [`json`] (what nodes say), [`field`] (one value of it), [`validate`] (what is
//! believed), [`verify`] (what is proven), [`ingest`] (text in, [`BlockRun`](highwater_engine::model::BlockRun) out), [`decode`]
//! (what logs mean).

pub mod decode;
pub mod field;
pub mod ingest;
pub mod json;
pub(crate) mod options;
pub(crate) mod tables;
pub mod traces;
pub mod validate;
pub mod verify;
