//! The ids of the rows of a key.

/// Ids of rows; few of them without an allocation.
pub(super) enum Bucket {
    Few { len: u8, ids: [u32; FEW] },
    Many(Box<Many>),
}

/// As many as fit into 16 bytes.
const FEW: usize = 3;

pub(super) struct Many {
    ids: Vec<u32>,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket::Few { len: 0, ids: [0; FEW] }
    }
}

impl Bucket {
    pub(super) fn ids(&self) -> &[u32] {
        match self {
            Bucket::Few { len, ids } => &ids[..usize::from(*len)],
            Bucket::Many(many) => &many.ids,
        }
    }

    pub(super) fn push(&mut self, id: u32) {
        match self {
            Bucket::Many(many) => many.ids.push(id),
            Bucket::Few { len, ids } if usize::from(*len) < ids.len() => {
                ids[usize::from(*len)] = id;
                *len += 1;
            }
            Bucket::Few { ids, .. } => {
                let mut many = Vec::with_capacity(4 * ids.len());
                many.extend_from_slice(ids);
                many.push(id);
                *self = Bucket::Many(Box::new(Many { ids: many }));
            }
        }
    }

    /// Takes the id at a place out; the id that takes its place, if one does.
    pub(super) fn swap_remove(&mut self, place: usize) -> Option<u32> {
        match self {
            Bucket::Many(many) => {
                many.ids.swap_remove(place);
                let moved = many.ids.get(place).copied();
                if many.ids.is_empty() {
                    *self = Bucket::default();
                }
                moved
            }
            Bucket::Few { len, ids } => {
                *len -= 1;
                ids[place] = ids[usize::from(*len)];
                (place < usize::from(*len)).then(|| ids[place])
            }
        }
    }

    /// Bytes held beside itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Bucket::Many(many) => size_of::<Many>() + many.ids.capacity() * size_of::<u32>(),
            Bucket::Few { .. } => 0,
        }
    }
}
