//! Random histories of two nodes that grow, reorganise, lag, lie, break and heal: the engine's chain ends equal to
//! theirs, nothing comes twice, and every sample is in exactly one row.

#![cfg(feature = "evm")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/live.rs"]
mod live;
mod support;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use arrow::record_batch::RecordBatch;
use highwater_testnode::{Block, Effect, Node, When, alter};
use live::{Live, twins, usual};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    /// So many blocks go and so many come, at both nodes at once.
    Change {
        back: u64,
        forth: usize,
    },
    /// The same, but the second node learns of it with the next change.
    ChangeOne {
        back: u64,
        forth: usize,
    },
    Fault {
        node: usize,
        fault: usize,
        times: u64,
    },
    DropSockets {
        node: usize,
    },
    Stop {
        node: usize,
    },
    /// The follower catches up.
    Wait,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let change = (0u64..5, 1usize..6).prop_map(|(back, forth)| (back, forth + usize::try_from(back).unwrap()));
    let action = prop_oneof![
        4 => (1usize..4).prop_map(|forth| Action::Change { back: 0, forth }),
        2 => change.clone().prop_map(|(back, forth)| Action::Change { back, forth }),
        2 => change.prop_map(|(back, forth)| Action::ChangeOne { back, forth }),
        3 => (0usize..2, 0usize..FAULTS, 1u64..6).prop_map(|(node, fault, times)| Action::Fault { node, fault, times }),
        1 => (0usize..2).prop_map(|node| Action::DropSockets { node }),
        1 => (0usize..2).prop_map(|node| Action::Stop { node }),
        3 => Just(Action::Wait),
    ];
    proptest::collection::vec(action, 5..40)
}

const FAULTS: usize = 9;

fn set(node: &Node, fault: usize, times: u64) {
    let receipts = || When::call("eth_getBlockReceipts").first(times);
    let by_hash = || When::call("eth_getBlockByHash").first(times);
    match fault {
        0 => node.fault(receipts(), Effect::Null),
        1 => node.fault(receipts(), Effect::alter(alter::drop_all_logs)),
        2 => node.fault(receipts(), Effect::alter(alter::drop_transaction)),
        3 => node.fault(by_hash(), Effect::OtherBlock),
        4 => node.fault(by_hash(), Effect::Null),
        5 => node.fault(When::call("eth_getBlockByNumber").first(times), Effect::Behind(7)),
        6 => node.fault(When::any_call().first(times), Effect::Status(503, None)),
        7 => node.fault(When::any_call().first(times), Effect::Reset),
        _ => node.fault(When::head().first(times), Effect::Lose),
    };
}

/// Two nodes of one chain, the second of which may lag behind.
struct World {
    nodes: [Node; 2],
    lagging: Vec<Arc<Block>>,
    stopped: Option<usize>,
}

impl World {
    fn change(&mut self, back: u64, forth: usize) {
        let back = back.min(self.nodes[0].head().number);
        self.lagging.extend(self.nodes[0].reorg(back, forth));
    }

    fn level(&mut self) {
        self.nodes[1].learn(&self.lagging);
        self.lagging.clear();
        self.nodes[1].set_head(self.nodes[0].head().hash);
    }

    fn wake(&mut self) {
        if let Some(node) = self.stopped.take() {
            self.nodes[node].restart();
        }
    }

    fn act(&mut self, action: &Action, live: &Live) {
        match *action {
            Action::Change { back, forth } => {
                self.change(back, forth);
                self.level();
            }
            Action::ChangeOne { back, forth } => self.change(back, forth),
            Action::Fault { node, fault, times } => set(&self.nodes[node], fault, times),
            Action::DropSockets { node } => self.nodes[node].kill_sockets(),
            Action::Stop { node } => {
                self.wake();
                self.nodes[node].stop();
                self.stopped = Some(node);
            }
            Action::Wait => {
                self.level();
                live.wait_for_chain_of(&self.nodes[0]);
            }
        }
    }
}

/// What samples say of their requests: who, when, what, how long. No two requests agree in all of it; what is
/// noted without a request has no duration and is left out.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let wanted = ["sampled_at", "endpoint", "method", "latency_ms", "error_kind", "bytes"];
    let columns: Vec<_> = wanted.iter().map(|name| rows.column_by_name(name).unwrap().clone()).collect();
    let took = columns[3].as_primitive::<Float64Type>().clone();
    let line = |row| format!("{:?}", columns.iter().map(|column| column.slice(row, 1)).collect::<Vec<_>>());
    (0..rows.num_rows()).filter(|row| took.value(*row) > 0.0).map(line).collect()
}

proptest! {
    // Timing takes part, so a failure is shown as it came rather than shrunk or kept.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_equal(actions in actions(), from in 0u64..20) {
        let mut world = World { nodes: twins(20, 20), lagging: Vec::new(), stopped: None };
        let [one, two] = &world.nodes;
        let url = format!("{} {}|2 {} {}", one.http_url(), two.http_url(), one.ws_url(), two.ws_url());
        let from = from.to_string();
        let options = usual(&url, &[("from_block", &from), ("confirmations", "40"), ("batch", "3")]);
        let live = Live::with(&options, &["blocks", "logs", "rpc_samples"], |_| {});
        live.wait_for_chain_of(&world.nodes[0]);
        for action in &actions {
            world.act(action, &live);
        }
        world.wake();
        world.nodes.iter().for_each(Node::heal);
        // A branch that is not longer needs both nodes to agree, and one block more settles everything.
        world.change(0, 1);
        world.level();
        live.wait_for_chain_of(&world.nodes[0]);
        prop_assert_eq!(live.look(|seen| seen.repeated), 0);
        let mut samples = live.look(|seen| seen.rows.values().flat_map(lines).collect::<Vec<_>>());
        samples.sort();
        let twice: Vec<_> = samples.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        prop_assert!(twice.is_empty(), "{twice:?}");
    }
}
