//! What the native coin is worth in dollars, from trades between it and coins worth one dollar.
//!
//! Definition: each trade of at least [`LEAST_USD`] that is trusted is a sample, and a pool has at most
//! one sample a block, its latest. The price at a position is the median of the last [`SAMPLES`] samples
//! of verified pools not older than [`MAX_AGE_MS`]; if these are not more than half of [`SAMPLES`], of all
//! pools. Without a sample there is no price.
//!
//! One trade at any price costs little in a pool of one's own, so no single trade and no single pool can
//! set the price: that takes most of the samples, hence most of the pools that trade. Of an even number
//! of samples the lower of the middle two is taken: a price that was paid.

use std::collections::VecDeque;

use super::registry::{PoolKey, Trust};
use crate::codec::{Decoder, Encode, Truncated};

/// How many samples the median is of: on a busy chain, one or two blocks.
pub(super) const SAMPLES: usize = 9;
/// How old a sample may be, milliseconds of block time: a day.
pub(super) const MAX_AGE_MS: i64 = 86_400_000;
/// Smaller trades are no sample: fees and rounding are too much of them. Dollars.
pub(super) const LEAST_USD: f64 = 100.0;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) block: u64,
    pub(super) time_ms: i64,
    pub(super) pool: PoolKey,
    /// Dollars for one smallest unit.
    pub(super) usd: f64,
}

/// The samples that still count.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct NativePrice {
    verified: VecDeque<Sample>,
    all: VecDeque<Sample>,
}

impl NativePrice {
    /// Dollars for one smallest unit at a time after all samples.
    pub(super) fn at(&self, time_ms: i64) -> Option<f64> {
        let (verified, count) = median(&self.verified, time_ms);
        if count > SAMPLES / 2 { verified } else { median(&self.all, time_ms).0 }
    }

    /// A trade that counts; samples come in the order of the chain.
    pub(super) fn note(&mut self, sample: Sample, trust: Trust) {
        put(&mut self.all, sample);
        if trust == Trust::Verified {
            put(&mut self.verified, sample);
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for samples in [&self.verified, &self.all] {
            bytes.put_u64(samples.len() as u64);
            for sample in samples {
                bytes.put_u64(sample.block);
                bytes.put_i64(sample.time_ms);
                bytes.extend_from_slice(&sample.pool);
                bytes.put_u64(sample.usd.to_bits());
            }
        }
    }

    pub(super) fn decode(bytes: &mut Decoder<'_>) -> Result<NativePrice, Truncated> {
        let mut samples = || {
            let count = bytes.length()?;
            if count > SAMPLES {
                return Err(Truncated);
            }
            (0..count).map(|_| decode_sample(bytes)).collect::<Result<VecDeque<_>, Truncated>>()
        };
        Ok(NativePrice { verified: samples()?, all: samples()? })
    }
}

fn decode_sample(bytes: &mut Decoder<'_>) -> Result<Sample, Truncated> {
    let (block, time_ms, pool) = (bytes.u64()?, bytes.i64()?, bytes.take()?);
    Ok(Sample { block, time_ms, pool, usd: f64::from_bits(bytes.u64()?) })
}

fn put(samples: &mut VecDeque<Sample>, sample: Sample) {
    // A pool's earlier sample of the block goes: its place in the order is that of the latest trade.
    if let Some(place) = samples.iter().rposition(|other| other.block == sample.block && other.pool == sample.pool) {
        samples.remove(place);
    } else if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// The lower median of the samples that are young enough, and how many these are.
fn median(samples: &VecDeque<Sample>, time_ms: i64) -> (Option<f64>, usize) {
    let mut prices = [0.0; SAMPLES];
    let mut count = 0;
    for sample in samples.iter().filter(|sample| time_ms - sample.time_ms <= MAX_AGE_MS) {
        prices[count] = sample.usd;
        count += 1;
    }
    prices[..count].sort_unstable_by(f64::total_cmp);
    (count.checked_sub(1).map(|last| prices[last / 2]), count)
}
