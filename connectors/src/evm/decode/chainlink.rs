//! Chainlink's price feeds:
//! <https://github.com/smartcontractkit/libocr/blob/master/contract/AccessControlledOffchainAggregator.sol>.

use alloy_primitives::b256;

use super::rows::OracleUpdate;
use super::word::{i64_of, indexed, words};
use super::{Decoder, Feeds};

/// `AnswerUpdated(current, roundId, updatedAt)`, the first two indexed.
pub(super) const ANSWER_UPDATED: Decoder = Decoder {
    signature: "AnswerUpdated(int256,uint256,uint256)",
    topic0: b256!("0559884fd3a460db3073b7fc896cc77986f16e378210ded43186175bf646fc5f"),
    feeds: Feeds::ORACLES,
    helps: Feeds::NONE,
    decode: |log, out| {
        let [answer, round_id] = *indexed(log.topics)?;
        let [updated_at] = words(log.data)?;
        let updated_at = i64_of(updated_at);
        out.oracle_updates.push(OracleUpdate { at: log.at, feed: log.address, answer, round_id, updated_at });
        Ok(())
    },
};
