//! How far a machine sees, and what is final of that.

use std::collections::BTreeMap;

use highwater_engine::model::Progress;

use super::machine::{Clock, Horizon, Seen};

/// Follows the head, and remembers the times of blocks where it sees less far.
pub(super) struct Outlook {
    clock: Clock,
    horizon: Horizon,
    /// Times of the blocks that are not final, and of the newest final one.
    pub(super) times: BTreeMap<i64, i64>,
}

impl Outlook {
    pub(super) fn new(clock: Clock, horizon: Horizon) -> Outlook {
        Outlook { clock, horizon, times: BTreeMap::new() }
    }

    /// How far is seen at this tick.
    pub(super) fn look(&mut self, progress: &Progress) -> Seen {
        let head = order_of(progress.head_number);
        if self.clock == Clock::Block {
            // A reorg takes the times of the old branch back.
            self.times.split_off(&head);
            self.times.insert(head, progress.now_ms);
        }
        let all = match self.clock {
            Clock::Block => Seen { order: head, now_ms: progress.now_ms },
            Clock::Row => Seen { order: progress.now_ms, now_ms: progress.now_ms },
        };
        match self.horizon {
            Horizon::Head => all,
            _ if progress.end_of_input => all,
            Horizon::Confirmed(blocks) if self.clock == Clock::Block => {
                let confirmed = head.saturating_sub(i64::from(blocks));
                let newest = confirmed.max(progress.finalized_number.map_or(i64::MIN, order_of)).min(head);
                match self.times.range(..=newest).next_back() {
                    Some((order, time)) => Seen { order: *order, now_ms: *time },
                    None => Seen::NOTHING,
                }
            }
            Horizon::Confirmed(_) => all,
            Horizon::Final => match (progress.finalized_number, progress.finalized_ms) {
                (Some(number), Some(now_ms)) => match self.clock {
                    Clock::Block => Seen { order: order_of(number).min(head), now_ms },
                    Clock::Row => Seen { order: now_ms, now_ms },
                },
                _ => Seen::NOTHING,
            },
        }
    }

    /// The order and time up to which nothing can change any more.
    pub(super) fn finality(&self, progress: &Progress) -> Seen {
        if progress.end_of_input {
            return Seen { order: i64::MAX, now_ms: progress.now_ms };
        }
        match (progress.finalized_number, progress.finalized_ms) {
            (Some(number), Some(now_ms)) => match self.clock {
                Clock::Block => Seen { order: order_of(number), now_ms },
                Clock::Row => Seen { order: now_ms, now_ms },
            },
            _ => Seen::NOTHING,
        }
    }

    /// Forgets times that nobody will look for again.
    pub(super) fn forget(&mut self, finality: Seen) {
        let Some((newest, _)) = self.times.range(..=finality.order).next_back() else { return };
        let lag = if let Horizon::Confirmed(blocks) = self.horizon { i64::from(blocks) } else { 0 };
        let newest = newest.saturating_sub(lag);
        self.times = self.times.split_off(&newest);
    }
}

/// A height as an order.
pub(super) fn order_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
