//! The state as Arrow batches.

use arrow::array::LargeBinaryBuilder;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use highwater_engine::error::StateError;
use highwater_engine::operator::Share;
use highwater_engine::rows::PackedCodec;

use super::spec::{LEFT, RIGHT};
use super::{Join, NEVER};
use crate::codec::mismatch;
use crate::rows::{Loaded, Saved};

impl Join {
    fn shape(&self) -> String {
        let types = |codec: &PackedCodec| -> Vec<DataType> {
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
        let rows: Vec<(usize, u32, u32)> = [LEFT, RIGHT]
            .into_iter()
            .flat_map(|side| self.sides[side].all().map(move |(key, id)| (side, key, id)))
            .collect();
        let count = |(side, _, id): &(usize, u32, u32)| self.sides[*side].slot(*id).before;
        let matches = |(side, _, id): &(usize, u32, u32)| {
            let side = &self.sides[*side];
            if side.counts_matches() { side.matches(*id).before } else { 0 }
        };
        let closes = |(_, key, _): &(usize, u32, u32)| self.closes.get(*key as usize).copied().unwrap_or(NEVER);
        let (mut keys, mut bytes) = (LargeBinaryBuilder::new(), LargeBinaryBuilder::new());
        for side in [LEFT, RIGHT] {
            let rows = || rows.iter().filter(move |(of, ..)| *of == side);
            let of_keys: Vec<&[u8]> = rows().map(|(_, key, _)| self.keys.key(*key)).collect();
            let of_rows: Vec<&[u8]> = rows().map(|(side, _, id)| self.sides[*side].bytes_of(*id)).collect();
            self.key_codec.save(&of_keys, &mut keys);
            self.codecs[side].save(&of_rows, &mut bytes);
        }
        Saved::new(&self.name, &self.shape())
            .fact("closed_ms", self.closed_ms)
            .numbers("side", rows.iter().map(|(side, ..)| i64::from(*side == RIGHT)))
            .binary("key", keys.finish())
            .binary("row", bytes.finish())
            .numbers("count", rows.iter().map(count))
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
        let (columns, packed_keys) = self.key_codec.load(keys.iter().flatten());
        let sides = sides.iter().flatten().map(|side| match side {
            0 => Ok(LEFT),
            1 => Ok(RIGHT),
            side => Err(mismatch(&name, format!("there is no side {side}"))),
        });
        let sides = sides.collect::<Result<Vec<usize>, StateError>>()?;
        let of_side = |side: usize| rows.iter().flatten().zip(&sides).filter(move |(_, of)| **of == side);
        let packed_rows = [LEFT, RIGHT].map(|side| self.codecs[side].load(of_side(side).map(|(row, _)| row)).1);
        let regions = self.regions.of(columns.columns());
        let mut next = [0, 0];
        for (row, side) in sides.iter().copied().enumerate() {
            let place = next[side];
            next[side] += 1;
            if !self.owns(keys.value(row), share) {
                continue;
            }
            let closes = Some(closes.value(row)).filter(|closes| *closes != NEVER);
            let key = self.key(regions.at(row), packed_keys.row(row), closes);
            self.sides[side].make_room(self.keys.slots());
            let id = self.sides[side].change(key, packed_rows[side].row(place), 0, counts.value(row));
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
