//! Stack for what walks the trees of statements.

/// Address space for the walks; only what is stepped on takes memory. A tree as deep as statements may be takes a
/// tenth of it in a debug build.
const ROOM: usize = 256 << 20;

/// Runs something that goes as deep as a statement is.
pub(crate) fn with_room<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(ROOM, work)
}
