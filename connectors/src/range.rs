//! The heights a job wants.

use highwater_engine::source::ReadRequest;

/// From the first to the last block wanted, both inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockRange {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl BlockRange {
    /// The range of a request; everything if it names none.
    pub(crate) fn of(request: &ReadRequest) -> BlockRange {
        BlockRange { from: request.from_block.unwrap_or(0), to: request.to_block.unwrap_or(u64::MAX) }
    }

    /// Whether the block of this height is wanted.
    pub(crate) fn contains(self, number: u64) -> bool {
        self.from <= number && number <= self.to
    }

    /// Whether this height is beyond the last wanted block.
    pub(crate) fn is_after(self, number: u64) -> bool {
        number > self.to
    }
}
