//! Bytes to columns.

use std::sync::Arc;

use alloy_primitives::hex;
use arrow::array::{ArrayData, ArrayRef, BinaryArray, BooleanArray, NullBufferBuilder, StringArray, make_array};
use arrow::buffer::{Buffer, MutableBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::{HEX_20, HEX_32, Kind, LONG};

/// A column that is being decoded.
pub(super) struct Building {
    kind: Kind,
    values: MutableBuffer,
    /// Of text and bytes: where each value ends.
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Building {
    pub(super) fn new(kind: Kind) -> Building {
        Building { kind, values: MutableBuffer::new(0), ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    /// Takes its value off the front of a row.
    #[inline]
    pub(super) fn take(&mut self, row: &mut &[u8], is_null: bool) {
        match self.kind {
            Kind::Fixed(width) => self.values.extend_from_slice(front(row, width)),
            Kind::Boolean => self.values.extend_from_slice(front(row, 1)),
            Kind::Text | Kind::Bytes => {
                match front(row, 1)[0] {
                    HEX_20 => self.push_hex::<20, 42>(front(row, 20)),
                    HEX_32 => self.push_hex::<32, 66>(front(row, 32)),
                    LONG => {
                        let mut len = [0; 4];
                        len.copy_from_slice(front(row, 4));
                        self.values.extend_from_slice(front(row, u32::from_le_bytes(len) as usize));
                    }
                    len => self.values.extend_from_slice(front(row, usize::from(len))),
                }
                self.ends.push(i32::try_from(self.values.len()).expect("rows are decoded a few thousand at a time"));
            }
        }
        self.nulls.append(!is_null);
    }

    fn push_hex<const BYTES: usize, const DIGITS: usize>(&mut self, bytes: &[u8]) {
        let mut text = [b'0'; DIGITS];
        text[1] = b'x';
        hex::encode_to_slice(bytes, &mut text[2..]).expect("two digits a byte");
        self.values.extend_from_slice(&text);
    }

    pub(super) fn finish(mut self, data_type: &DataType) -> ArrayRef {
        let len = self.nulls.len();
        let nulls = self.nulls.finish();
        let values: Buffer = self.values.into();
        let offsets = || OffsetBuffer::new(self.ends.into());
        match self.kind {
            Kind::Fixed(_) => {
                let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(values).nulls(nulls).build();
                make_array(data.expect("as many bytes as the values have"))
            }
            Kind::Boolean => {
                let values: Vec<bool> = values.iter().map(|value| *value != 0).collect();
                Arc::new(BooleanArray::new(values.into(), nulls))
            }
            Kind::Text => Arc::new(StringArray::new(offsets(), values, nulls)),
            Kind::Bytes => Arc::new(BinaryArray::new(offsets(), values, nulls)),
        }
    }
}

fn front<'a>(row: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = row.split_at(len);
    *row = rest;
    front
}
