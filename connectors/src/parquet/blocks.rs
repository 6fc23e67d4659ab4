//! Who the blocks are: their hashes, parents and times, from the files or made up.

use highwater_engine::model::{BlockHash, BlockRef};

use super::stream::Segment;

/// Gives every height its place in one chain.
///
/// History in files may be sparse and need not have hashes. Where it has them they are used; where it
/// has not, a hash is made of the chain's number and the height, so that the same file always gives the
/// same chain. The parent is the block delivered before, except between two neighbours whose true
/// hashes are known: there the file's own parent is kept, so that a false one is found out.
#[derive(Clone, Debug)]
pub(super) struct BlockMaker {
    chain_id: u64,
    previous: Option<(BlockRef, bool)>,
}

impl BlockMaker {
    pub(super) fn new(chain_id: u64) -> BlockMaker {
        BlockMaker { chain_id, previous: None }
    }

    /// The next block, from what the tables say about it, the most trusted first.
    pub(super) fn next<'a>(&mut self, number: u64, known: impl Iterator<Item = &'a Segment> + Clone) -> BlockRef {
        let hash = known.clone().find_map(|segment| segment.hash);
        let parent = known.clone().find_map(|segment| segment.parent);
        let timestamp_ms = known.clone().find_map(|segment| segment.time_ms).unwrap_or(0);
        let parent = match (parent, self.previous) {
            (Some(parent), Some((previous, true))) if hash.is_some() && previous.number + 1 == number => {
                BlockHash(parent)
            }
            (_, Some((previous, _))) => previous.hash,
            (Some(parent), None) => BlockHash(parent),
            (None, None) => BlockHash::default(),
        };
        let made_up = || made_up_hash(self.chain_id, number);
        let block = BlockRef { number, hash: hash.map_or_else(made_up, BlockHash), parent, timestamp_ms };
        self.previous = Some((block, hash.is_some()));
        block
    }
}

/// A hash that no real block has: zeros, the chain, the height.
fn made_up_hash(chain_id: u64, number: u64) -> BlockHash {
    let mut hash = [0; 32];
    hash[16..24].copy_from_slice(&chain_id.to_be_bytes());
    hash[24..].copy_from_slice(&number.to_be_bytes());
    BlockHash(hash)
}
