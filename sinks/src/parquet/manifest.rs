//! `_manifest.json`: which files of the folder count.

use serde::{Deserialize, Serialize};

/// Name of the manifest in the folder of the sink.
pub(super) const MANIFEST: &str = "_manifest.json";

/// One file that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Path inside the folder, with `/`.
    pub(super) file: String,
    /// Rows in it.
    pub(super) rows: u64,
    /// Its size.
    pub(super) bytes: u64,
    /// Whether its rows are final, so that the file is never replaced (snapshots only).
    #[serde(rename = "final", default, skip_serializing_if = "Option::is_none")]
    pub(super) is_final: Option<bool>,
    /// First tick with a row in it (change logs only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_tick: Option<u64>,
    /// Last tick with a row in it (change logs only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_tick: Option<u64>,
}

/// The state of the folder. It names no tick in a snapshot: how blocks were grouped into ticks does
/// not show in what a view holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Version of this form.
    pub(super) version: u32,
    /// The view.
    pub(super) view: String,
    /// `snapshot` or `changelog`.
    pub(super) mode: String,
    /// Height of the head the files go up to.
    pub(super) block: Option<u64>,
    /// Its block time, milliseconds since the epoch.
    pub(super) block_time_ms: Option<i64>,
    /// Rows in all files.
    pub(super) rows: u64,
    /// The files, in the order of their rows.
    pub(super) files: Vec<Part>,
}

/// The newest block a sink has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) block: u64,
    pub(super) time_ms: i64,
}

impl Manifest {
    pub(super) fn new(view: &str, mode: &str, head: Option<Head>, files: Vec<Part>) -> Manifest {
        Manifest {
            version: 1,
            view: view.to_owned(),
            mode: mode.to_owned(),
            block: head.map(|head| head.block),
            block_time_ms: head.map(|head| head.time_ms),
            rows: files.iter().map(|part| part.rows).sum(),
            files,
        }
    }
}
