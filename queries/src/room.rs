//! Stack for what walks the trees of statements.

/// Address space for the walks; only what is stepped on takes memory. A debug build needs more than 8 MiB for 500
/// operators or 400 set operations, and for 200 joins.
const ROOM: usize = 128 << 20;

/// Runs something that goes as deep as a statement is.
pub(crate) fn with_room<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(ROOM, work)
}
