//! Chains of blocks with notifications, and the ticks of a run over them.

use std::collections::BTreeMap;

use highwater_engine::model::Reorg;
use highwater_sinks::alert::{Kind, Message};

use crate::world::{Tick, note, suppressed, tick};

/// What one block brings: groups and texts. The text 3 stands for a notification that is suppressed.
pub(crate) type Block = Vec<(u8, u8)>;

/// One change of the chain: blocks taken back, blocks added.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) depth: usize,
    pub(crate) added: Vec<Block>,
}

/// What a chain asserts, by notification. As in the dataflow an id names group, kind and revision, and is the same on
/// every branch, whatever the notification says there.
pub(crate) fn asserted(chain: &[Block]) -> BTreeMap<String, Message> {
    const KINDS: [Kind; 3] = [Kind::Fire, Kind::Update, Kind::Resolve];
    let mut revisions: BTreeMap<u8, i64> = BTreeMap::new();
    let mut asserted = BTreeMap::new();
    for (number, block) in (1..).zip(chain) {
        for (group, text) in block {
            let revision = revisions.entry(*group).or_default();
            *revision += 1;
            let kind = KINDS[usize::try_from((*revision - 1) % 3).unwrap()];
            let id = format!("g{group}-r{revision}");
            let mut message = note(&id, &format!("g{group}"), kind, number, &format!("text {text}"));
            message.revision = *revision;
            let message = if *text == 3 { suppressed(message, "cooldown") } else { message };
            asserted.insert(id, message);
        }
    }
    asserted
}

/// A chain that grows tick by tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<Block>,
    pub(crate) ticks: u64,
}

impl Chain {
    /// Takes a step; gives how many blocks stayed.
    pub(crate) fn skip(&mut self, step: &Step) -> usize {
        // The first block stays.
        let kept = self.blocks.len().saturating_sub(step.depth).max(self.blocks.len().min(1));
        self.blocks.truncate(kept);
        self.blocks.extend(step.added.iter().cloned());
        self.ticks += 1;
        kept
    }

    /// The tick that one step is.
    pub(crate) fn step(&mut self, step: &Step) -> Tick {
        let before = asserted(&self.blocks);
        let kept = self.skip(step);
        let after = asserted(&self.blocks);
        let differs = |a: &BTreeMap<String, Message>, b: &BTreeMap<String, Message>| -> Vec<Message> {
            a.iter().filter(|(id, message)| b.get(*id) != Some(message)).map(|(_, message)| message.clone()).collect()
        };
        let mut made = tick(self.ticks, self.blocks.len() as u64, &differs(&before, &after), &differs(&after, &before));
        let (ancestor_number, depth, replaced_by) = (kept as u64, step.depth as u64, step.added.len() as u64);
        made.progress.reorg = (depth > 0).then_some(Reorg { ancestor_number, depth, replaced_by });
        made.progress.applied_blocks = step.added.len() as u64;
        made
    }

    /// What a reader is to see in the end.
    pub(crate) fn reads(&self) -> Vec<String> {
        let told = asserted(&self.blocks).into_values().filter(|message| message.suppressed_by.is_none());
        let mut reads: Vec<String> = told
            .map(|message| {
                let kind = serde_json::to_value(message.kind).unwrap();
                format!("{:?} {kind} {:?}", message.group_key, message.title)
            })
            .collect();
        reads.sort();
        reads
    }
}
