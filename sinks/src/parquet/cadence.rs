//! How often files are brought up to date.

use highwater_engine::model::Progress;
use highwater_engine::options::parse_duration;

/// The `every` option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cadence {
    /// Only at checkpoints and at the end.
    End,
    /// Each so many ticks.
    Ticks(u64),
    /// Whenever block time enters another interval of so many milliseconds.
    BlockTime(i64),
}

impl Cadence {
    /// Reads `5 minutes`, `100 ticks`, `end`.
    pub(super) fn read(text: &str) -> Option<Cadence> {
        if text.eq_ignore_ascii_case("end") {
            return Some(Cadence::End);
        }
        if let Some(count) = text.strip_suffix("ticks").or_else(|| text.strip_suffix("tick")) {
            let count = count.trim().replace('_', "").parse().ok()?;
            return (count > 0).then_some(Cadence::Ticks(count));
        }
        let ms = i64::try_from(parse_duration(text)?.as_millis()).ok()?;
        (ms > 0).then_some(Cadence::BlockTime(ms))
    }

    /// The stretch a tick belongs to; files are written when it is another than the last one.
    pub(super) fn stretch(self, progress: &Progress) -> i64 {
        match self {
            Cadence::End => 0,
            Cadence::Ticks(count) => i64::try_from(progress.tick / count).unwrap_or(i64::MAX),
            Cadence::BlockTime(ms) => progress.now_ms.div_euclid(ms),
        }
    }
}

/// Tells when files are due.
pub(super) struct Timer {
    cadence: Cadence,
    last: Option<i64>,
}

impl Timer {
    pub(super) fn new(cadence: Cadence) -> Timer {
        Timer { cadence, last: None }
    }

    /// Whether files are due with this tick.
    pub(super) fn due(&mut self, progress: &Progress) -> bool {
        let stretch = self.cadence.stretch(progress);
        // Block time can go back in a reorg; that is no reason to write.
        let due = self.last.is_some_and(|last| stretch > last);
        if due || self.last.is_none() {
            self.last = Some(stretch);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(Cadence::read("end"), Some(Cadence::End));
        assert_eq!(Cadence::read("100 ticks"), Some(Cadence::Ticks(100)));
        assert_eq!(Cadence::read("1 tick"), Some(Cadence::Ticks(1)));
        assert_eq!(Cadence::read("5 minutes"), Some(Cadence::BlockTime(300_000)));
        assert_eq!(Cadence::read("0 ticks"), None);
        assert_eq!(Cadence::read("often"), None);
    }
}
