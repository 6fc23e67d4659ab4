//! Moving rows between workers.

use std::io::Cursor;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::row::{RowConverter, SortField};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Delta, Diffs, Origin};
use crate::operator::Share;

/// A delta on its way to one worker. Between threads it moves as it is; the Arrow IPC form is for
/// workers in other processes.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) target: u64,
    pub(crate) delta: Delta,
}

impl From<Packet> for Delta {
    fn from(packet: Packet) -> Delta {
        packet.delta
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    target: u64,
    block: Option<u64>,
    uniform: Option<i64>,
    diffs: Vec<i64>,
    batch: Vec<u8>,
}

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, self.delta.batch.schema_ref()).map_err(S::Error::custom)?;
        writer.write(&self.delta.batch).and_then(|()| writer.finish()).map_err(S::Error::custom)?;
        drop(writer);
        let (uniform, diffs) = match &self.delta.diffs {
            Diffs::Uniform(diff) => (Some(*diff), Vec::new()),
            Diffs::Rows(diffs) => (None, diffs.to_vec()),
        };
        let block = match self.delta.origin {
            Origin::Block(number) => Some(number),
            Origin::Derived => None,
        };
        Wire { target: self.target, block, uniform, diffs, batch: bytes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packet, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let mut reader = StreamReader::try_new(Cursor::new(wire.batch), None).map_err(D::Error::custom)?;
        let batch =
            reader.next().ok_or_else(|| D::Error::custom("a packet holds one batch"))?.map_err(D::Error::custom)?;
        let diffs = match wire.uniform {
            Some(diff) => Diffs::Uniform(diff),
            None => Diffs::Rows(wire.diffs.into()),
        };
        let origin = wire.block.map_or(Origin::Derived, Origin::Block);
        Ok(Packet { target: wire.target, delta: Delta { batch, diffs, origin } })
    }
}

/// Splits a delta by the owner of each row's key. Empty parts are left out.
///
/// `converter` encodes exactly the key columns, in the order of `columns`.
pub fn partition(delta: &Delta, columns: &[usize], converter: &RowConverter, peers: usize) -> Vec<(usize, Delta)> {
    let keys: Vec<ArrayRef> = columns.iter().map(|column| delta.batch.column(*column).clone()).collect();
    let rows = converter.convert_columns(&keys).expect("the converter was made for these columns");
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); peers];
    for (index, row) in (0_u32..).zip(rows.iter()) {
        indices[Share::owner(row.as_ref(), peers)].push(index);
    }
    indices
        .into_iter()
        .enumerate()
        .filter(|(_, indices)| !indices.is_empty())
        .map(|(peer, indices)| (peer, select(delta, indices)))
        .collect()
}

/// A converter for the key columns of a schema.
pub(crate) fn key_converter(delta: &Delta, columns: &[usize]) -> RowConverter {
    let schema = delta.batch.schema_ref();
    let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
    RowConverter::new(fields).expect("the planner routes by types that arrow-row encodes")
}

fn select(delta: &Delta, indices: Vec<u32>) -> Delta {
    if indices.len() == delta.len() {
        return delta.clone();
    }
    let indices = UInt32Array::from(indices);
    let batch = take_record_batch(&delta.batch, &indices).expect("indices are rows of this batch");
    let diffs = match &delta.diffs {
        Diffs::Uniform(diff) => Diffs::Uniform(*diff),
        Diffs::Rows(diffs) => {
            let diffs = Int64Array::new(diffs.clone(), None);
            let taken = take(&diffs, &indices, None).expect("indices are rows of this batch");
            Diffs::Rows(ScalarBuffer::from(taken.to_data().buffers()[0].clone()).slice(0, indices.len()))
        }
    };
    Delta { batch, diffs, origin: delta.origin }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::record_batch::RecordBatch;

    use super::*;

    fn delta() -> Delta {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_new(schema, vec![keys]).unwrap();
        Delta::derived(batch, (0..100).collect())
    }

    #[test]
    fn partitions_cover_every_row_once() {
        let delta = delta();
        let parts = partition(&delta, &[0], &key_converter(&delta, &[0]), 3);
        assert_eq!(parts.len(), 3);
        let mut diffs: Vec<i64> = parts
            .iter()
            .flat_map(|(_, part)| (0..part.len()).map(|row| part.diffs.at(row)).collect::<Vec<_>>())
            .collect();
        diffs.sort_unstable();
        assert_eq!(diffs, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn packets_survive_the_wire() {
        let packet = Packet { target: 2, delta: delta() };
        let json = serde_json::to_string(&packet).unwrap();
        let back: Packet = serde_json::from_str(&json).unwrap();
        assert_eq!(back.target, 2);
        assert_eq!(back.delta.batch, packet.delta.batch);
        assert_eq!(back.delta.diffs.at(7), 7);
        assert_eq!(back.delta.origin, Origin::Derived);
    }
}
