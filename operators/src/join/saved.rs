//! The state as Arrow batches.

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::Share;

use super::spec::{LEFT, RIGHT};
use super::{Join, NEVER};
use crate::codec::mismatch;
use crate::rows::{Loaded, RowCodec, Saved};

impl Join {
    fn shape(&self) -> String {
        let types = |codec: &RowCodec| -> Vec<DataType> {
            codec.schema().fields().iter().map(|field| field.data_type().clone()).collect()
        };
        let [left, right] = &self.codecs;
        format!(
            "{:?} join by {:?} (NULLs match: {}, condition: {}), {:?}, of {:?} and {:?}",
            self.spec.kind,
            types(&self.key_codec),
            self.spec.null_equals_null,
            self.condition.is_some(),
            self.spec.retain,
            types(left),
            types(right)
        )
    }

    pub(super) fn saved(&self) -> Result<RecordBatch, StateError> {
        let rows: Vec<(usize, u32)> = [LEFT, RIGHT]
            .into_iter()
            .flat_map(|side| self.sides[side].ids().into_iter().map(move |id| (side, id)))
            .collect();
        let slot = |(side, id): &(usize, u32)| self.sides[*side].slot(*id);
        let matches = |(side, id): &(usize, u32)| {
            let side = &self.sides[*side];
            if side.counts_matches() { side.matches(*id).before } else { 0 }
        };
        let closes = |row: &(usize, u32)| self.closes.get(slot(row).key as usize).copied().unwrap_or(NEVER);
        Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .numbers("side", rows.iter().map(|(side, _)| i64::from(*side == RIGHT)))
            .bytes("key", rows.iter().map(|row| self.keys.key(slot(row).key)))
            .bytes("row", rows.iter().map(|(side, id)| self.sides[*side].bytes_of(*id)))
            .numbers("count", rows.iter().map(|row| slot(row).before))
            .numbers("matches", rows.iter().map(matches))
            .numbers("closes", rows.iter().map(closes))
            .finish()
    }

    pub(super) fn load_batch(&mut self, batch: &RecordBatch, share: Share) -> Result<(), StateError> {
        let name = self.name.clone();
        let loaded = Loaded::open(&name, &self.shape(), batch)?;
        self.closed_ms = self.closed_ms.max(loaded.fact("closed_ms")?);
        let (sides, keys, rows) = (loaded.numbers("side")?, loaded.bytes("key")?, loaded.bytes("row")?);
        let (counts, matches, closes) =
            (loaded.numbers("count")?, loaded.numbers("matches")?, loaded.numbers("closes")?);
        let columns = self.key_codec.decode(keys.iter().flatten());
        let regions = self.regions.of(columns.columns());
        for row in 0..batch.num_rows() {
            if !self.owns(keys.value(row), share) {
                continue;
            }
            let side = match sides.value(row) {
                0 => LEFT,
                1 => RIGHT,
                side => return Err(mismatch(&name, format!("there is no side {side}"))),
            };
            let closes = Some(closes.value(row)).filter(|closes| *closes != NEVER);
            let key = self.key(regions.at(row), keys.value(row), closes);
            let id = self.sides[side].change(key, rows.value(row), 0, counts.value(row));
            self.sides[side].restore_matches(id, matches.value(row));
        }
        self.settle();
        Ok(())
    }

    /// Whether the rows of a key come to this worker; as [`Join::routes`].
    fn owns(&self, key: &[u8], share: Share) -> bool {
        if self.at_first_worker() { share.index == 0 } else { share.owns(key) }
    }
}
