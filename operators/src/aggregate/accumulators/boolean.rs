//! `bool_and(x)` and `bool_or(x)`: how often true and how often false.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray};

use super::count::save_pairs;
use super::{Accumulator, Failures, Rows};
use crate::codec::{Decoder, Truncated};

/// Which of the two functions.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `bool_and`
    All,
    /// `bool_or`
    Any,
}

#[derive(Clone, Copy, Default)]
struct Votes {
    yes: i64,
    no: i64,
}

/// Counts true and false.
pub(super) struct Booleans {
    rule: Rule,
    votes: Vec<Votes>,
}

impl Booleans {
    pub(super) fn new(rule: Rule) -> Booleans {
        Booleans { rule, votes: Vec::new() }
    }
}

impl Accumulator for Booleans {
    fn resize(&mut self, slots: usize) {
        self.votes.resize(slots, Votes::default());
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let values = rows.argument().as_boolean().values();
        let votes = self.votes.as_mut_slice();
        rows.each(|row, group, diff| {
            let vote = &mut votes[group];
            *(if values.value(row) { &mut vote.yes } else { &mut vote.no }) += diff;
        });
    }

    fn evaluate(&self, groups: &[u32], _: &mut Failures) -> ArrayRef {
        let result = |group: &u32| {
            let Votes { yes, no } = self.votes[*group as usize];
            (yes != 0 || no != 0).then_some(match self.rule {
                Rule::All => no == 0,
                Rule::Any => yes != 0,
            })
        };
        Arc::new(groups.iter().map(result).collect::<BooleanArray>())
    }

    fn reset(&mut self, group: u32) {
        self.votes[group as usize] = Votes::default();
    }

    fn save(&self, groups: &[u32]) -> Vec<Vec<u8>> {
        save_pairs(groups, |group| (i128::from(self.votes[group].yes), self.votes[group].no))
    }

    fn load(&mut self, group: u32, state: &mut Decoder<'_>) -> Result<(), Truncated> {
        let yes = i64::try_from(state.i128()?).map_err(|_| Truncated)?;
        self.votes[group as usize] = Votes { yes, no: state.i64()? };
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.votes.capacity() * size_of::<Votes>()
    }
}
