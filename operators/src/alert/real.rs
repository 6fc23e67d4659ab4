//! Floating-point numbers with an order and exact text.

use serde::{Deserialize, Serialize};

/// A finite double, compared and saved by its bits: two are equal if they are the same number, and what is saved
/// comes back to the bit. The order is total, though not that of the numbers where signs differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Real(u64);

impl Real {
    /// Wraps a number.
    pub fn new(number: f64) -> Real {
        Real(number.to_bits())
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}
