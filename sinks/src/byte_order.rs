//! Rows in the order of their bytes.

/// The first bytes as a number: decides most comparisons without touching the row.
pub(crate) fn prefix(bytes: &[u8]) -> u64 {
    let prefix = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut prefix = [0; 8];
        prefix[..bytes.len()].copy_from_slice(bytes);
        prefix
    });
    u64::from_be_bytes(prefix)
}

/// Sorts rows by their bytes: first by the front of each as a number, with its place as the lower half, then the few
/// whose fronts are equal.
pub(crate) fn sort(rows: &mut [&[u8]]) {
    const HALF: u32 = u64::BITS;
    let mut order: Vec<u128> =
        (0_u128..).zip(rows.iter()).map(|(place, row)| u128::from(prefix(row)) << HALF | place).collect();
    order.sort_unstable();
    let unsorted = rows.to_vec();
    for (row, key) in rows.iter_mut().zip(&order) {
        *row = unsorted[(key & u128::from(u64::MAX)) as usize];
    }
    let mut start = 0;
    for alike in order.chunk_by(|one, other| one >> HALF == other >> HALF) {
        let end = start + alike.len();
        if alike.len() > 1 {
            rows[start..end].sort_unstable();
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// Also rows that are shorter than the front, and rows whose fronts are equal.
        #[test]
        fn rows_come_in_the_order_of_their_bytes(rows in prop::collection::vec(prop::collection::vec(0_u8..2, 0..12), 0..50)) {
            let mut sorted: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            let mut expected = sorted.clone();
            expected.sort_unstable();
            super::sort(&mut sorted);
            prop_assert_eq!(sorted, expected);
        }
    }
}
