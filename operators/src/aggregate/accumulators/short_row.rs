//! Encoded rows that are mostly short.

use std::borrow::Borrow;
use std::ops::Deref;

/// Bytes kept in place: two numbers, or a number and a hash's first bytes.
const SHORT: usize = 22;

/// The bytes of a row, in place if there are few. Ordered and compared as bytes.
#[derive(Clone, Debug)]
pub(super) enum ShortRow {
    Here { len: u8, bytes: [u8; SHORT] },
    Heap(Box<[u8]>),
}

impl Deref for ShortRow {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            ShortRow::Here { len, bytes } => &bytes[..usize::from(*len)],
            ShortRow::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for ShortRow {
    fn from(row: &[u8]) -> ShortRow {
        match u8::try_from(row.len()) {
            Ok(len) if row.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..row.len()].copy_from_slice(row);
                ShortRow::Here { len, bytes }
            }
            _ => ShortRow::Heap(row.into()),
        }
    }
}

impl Borrow<[u8]> for ShortRow {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for ShortRow {
    fn eq(&self, other: &ShortRow) -> bool {
        **self == **other
    }
}

impl Eq for ShortRow {}

impl PartialOrd for ShortRow {
    fn partial_cmp(&self, other: &ShortRow) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortRow {
    fn cmp(&self, other: &ShortRow) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl ShortRow {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(len: usize) -> usize {
        if len <= SHORT { 0 } else { len }
    }
}
