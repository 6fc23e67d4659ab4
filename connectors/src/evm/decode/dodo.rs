//! DODO V2: <https://github.com/DODOEX/contractV2/blob/main/contracts/DODOVendingMachine/impl/DVMTrader.sol>.

use alloy_primitives::b256;

use super::rows::{PoolId, Swap, Venue};
use super::word::{address, coin, indexed, words};
use super::{Decoder, Feeds, told};

/// `DODOSwap(fromToken, toToken, fromAmount, toAmount, trader, receiver)`, nothing indexed.
pub(super) const SWAP: Decoder = Decoder {
    signature: "DODOSwap(address,address,uint256,uint256,address,address)",
    topic0: b256!("c2c0245e056d5fb095f04cd6373bc770802ebd1e6c918eb78fdef843cdb37b0f"),
    feeds: Feeds::SWAPS,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [] = indexed(log.topics)?;
        let [from, to, paid, got, trader, receiver] = words(log.data)?;
        let tokens = [coin(from)?, coin(to)?];
        let name = Venue { protocol: "dodo", version: "v2" };
        let swap = told::swap(log, name, PoolId::Address(log.address), tokens, [paid, got]);
        let (sender, recipient) = (Some(address(trader)?), Some(address(receiver)?));
        out.swaps.push(Swap { sender, recipient, ..swap });
        Ok(())
    },
};
