//! The contract that holds Uniswap V3 positions as tokens. It says which token a change of liquidity
//! belongs to right after the pool's own event:
//! <https://github.com/Uniswap/v3-periphery/blob/main/contracts/NonfungiblePositionManager.sol>.

use alloy_primitives::{U256, b256};

use super::rows::{Decoded, LiquidityEvent, LiquidityKind, PositionNote};
use super::word::{address, indexed, unsigned, words};
use super::{DecodeError, Decoder, Feeds, RawLog};

/// `IncreaseLiquidity(tokenId, liquidity, amount0, amount1)`.
pub(super) const INCREASE: Decoder = Decoder {
    signature: "IncreaseLiquidity(uint256,uint128,uint256,uint256)",
    topic0: b256!("3067048beee31b25b2f1681f88dac838c8bba36af25bfb2b7cf7473a5847e35f"),
    feeds: Feeds::NONE,
    helps: Feeds::LIQUIDITY,
    decode: |log, out| note(log, LiquidityKind::Mint, out),
};

/// `DecreaseLiquidity(tokenId, liquidity, amount0, amount1)`.
pub(super) const DECREASE: Decoder = Decoder {
    signature: "DecreaseLiquidity(uint256,uint128,uint256,uint256)",
    topic0: b256!("26f6a048ee9138f2c0ce266f322cb99228e8d619ae2bff30c67f8dcf9d2377b4"),
    feeds: Feeds::NONE,
    helps: Feeds::LIQUIDITY,
    decode: |log, out| note(log, LiquidityKind::Burn, out),
};

/// `Collect(tokenId, recipient, amount0, amount1)`.
pub(super) const COLLECT: Decoder = Decoder {
    signature: "Collect(uint256,address,uint256,uint256)",
    topic0: b256!("40d0efd1a53d60ecbf40971b9daf7dc90178c3aadc7aab1765632738fa8b8f01"),
    feeds: Feeds::NONE,
    helps: Feeds::LIQUIDITY,
    decode: |log, out| {
        let [token_id] = *indexed(log.topics)?;
        let [recipient, amount0, amount1] = *words(log.data)?;
        address(&recipient)?;
        let (kind, manager) = (LiquidityKind::Collect, log.address);
        let amounts = [amount0, amount1];
        out.positions.push(PositionNote { at: log.at, manager, kind, token_id, liquidity: None, amounts });
        Ok(())
    },
};

fn note(log: RawLog<'_>, kind: LiquidityKind, out: &mut Decoded) -> Result<(), DecodeError> {
    let [token_id] = *indexed(log.topics)?;
    let [liquidity, amount0, amount1] = *words(log.data)?;
    let (liquidity, amounts) = (Some(unsigned(&liquidity, 128)?), [amount0, amount1]);
    out.positions.push(PositionNote { at: log.at, manager: log.address, kind, token_id, liquidity, amounts });
    Ok(())
}

/// Gives each change of liquidity the token of the manager's note that follows it. Both lists are in
/// order and of one transaction.
pub(super) fn name_positions(events: &mut [LiquidityEvent], notes: &[PositionNote]) {
    let mut notes = notes;
    for event in events {
        let following = notes.partition_point(|note| note.at.log < event.at.log);
        notes = &notes[following..];
        if let Some(note) = notes.first().filter(|note| note.is_of(event)) {
            event.token_id = Some(note.token_id);
        }
    }
}

impl PositionNote {
    fn is_of(&self, event: &LiquidityEvent) -> bool {
        let same_amounts = match self.kind {
            // The manager asks for what it thinks is there; the pool may have a few units less.
            LiquidityKind::Collect => {
                at_most(event.amount0, self.amounts[0]) && at_most(event.amount1, self.amounts[1])
            }
            LiquidityKind::Mint | LiquidityKind::Burn => {
                [event.amount0, event.amount1] == self.amounts.map(Some) && event.liquidity == self.liquidity
            }
        };
        same_amounts && event.kind == self.kind && event.owner == Some(self.manager)
    }
}

fn at_most(one: Option<super::Word>, two: super::Word) -> bool {
    one.is_some_and(|one| U256::from_be_bytes(one) <= U256::from_be_bytes(two))
}
