//! What a side of a trade is worth in dollars, and why it is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::U256;

use super::{Address, MevSettings};

/// The address at which protocols book the native coin itself.
const NATIVE: Address = [0; 20];

/// What the value of a trade rests on, the surest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Basis {
    /// One side is a coin worth one dollar.
    Stable,
    /// One side is the native coin, whose price the chain's trades tell.
    Native,
    /// One side has a price in the user's table.
    Table,
}

impl Basis {
    /// As columns say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Basis::Stable => "stable",
            Basis::Native => "native",
            Basis::Table => "table",
        }
    }

    /// What [`Basis::name`] gave.
    pub(super) fn of(name: &str) -> Option<Basis> {
        [Basis::Stable, Basis::Native, Basis::Table].into_iter().find(|basis| basis.name() == name)
    }
}

/// The coins whose worth is known.
pub(super) struct Coins {
    settings: Arc<MevSettings>,
    /// Smallest units in a dollar, by stablecoin.
    units: BTreeMap<Address, f64>,
}

impl Coins {
    pub(super) fn of(settings: &Arc<MevSettings>) -> Coins {
        let units = settings.stablecoins.iter().map(|(token, decimals)| (*token, power_of_ten(*decimals)));
        Coins { units: units.collect(), settings: settings.clone() }
    }

    /// Whether a token is the native coin, wrapped or not.
    pub(super) fn is_native(&self, token: &Address) -> bool {
        *token == NATIVE || self.settings.wrapped_native.contains(token)
    }

    /// Dollars of an amount of a coin worth one dollar.
    pub(super) fn stable_usd(&self, token: &Address, amount: U256) -> Option<f64> {
        self.units.get(token).map(|units| f64::from(amount) / units)
    }

    /// Dollars of an amount by the user's table.
    pub(super) fn table_usd(&self, token: &Address, amount: U256, time_ms: i64) -> Option<f64> {
        self.settings.prices.at(token, time_ms).map(|usd| f64::from(amount) * usd)
    }

    /// Whether a side can be what a value rests on.
    pub(super) fn bears(&self, basis: Basis, token: &Address, time_ms: i64) -> bool {
        match basis {
            Basis::Stable => self.units.contains_key(token),
            Basis::Native => self.is_native(token),
            Basis::Table => self.settings.prices.at(token, time_ms).is_some(),
        }
    }

    /// Wrapped native coins.
    pub(super) fn wrapped_native(&self) -> impl Iterator<Item = &Address> {
        self.settings.wrapped_native.iter()
    }
}

/// Exact up to 22 digits, as every power of ten that is a double.
fn power_of_ten(digits: u32) -> f64 {
    (0..digits).fold(1.0, |power, _| power * 10.0)
}
