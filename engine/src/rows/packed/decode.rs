//! Bytes to columns.

use std::sync::Arc;

use alloy_primitives::hex;
use arrow::array::{
    ArrayData, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, StringArray, make_array,
};
use arrow::buffer::{Buffer, MutableBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use memchr::memchr2;

use super::{END, ESCAPE, HEX_20, HEX_32, Kind, NULL, Sign, TEXT_20, TEXT_32};

/// Takes a column off the front of rows.
pub(super) fn column(kind: Kind, data_type: &DataType, rows: &mut [&[u8]]) -> ArrayRef {
    let mut nulls = NullBufferBuilder::new(rows.len());
    match kind {
        Kind::Number(width, sign) => {
            let values = numbers(width, sign, rows, &mut nulls);
            fixed(data_type, values.into(), rows.len(), nulls)
        }
        Kind::Plain(20) => fixed(data_type, plain::<20>(rows, &mut nulls), rows.len(), nulls),
        Kind::Plain(32) => fixed(data_type, plain::<32>(rows, &mut nulls), rows.len(), nulls),
        Kind::Plain(width) => {
            let mut values = MutableBuffer::with_capacity(rows.len() * width);
            for row in rows.iter_mut() {
                nulls.append(front(row, 1)[0] != NULL);
                values.extend_from_slice(front(row, width));
            }
            fixed(data_type, values.into(), rows.len(), nulls)
        }
        Kind::Boolean => {
            let mut values = BooleanBufferBuilder::new(rows.len());
            for row in rows.iter_mut() {
                let [marker, value] = *front(row, 2) else { unreachable!("two bytes were taken") };
                nulls.append(marker != NULL);
                values.append(value != 0);
            }
            Arc::new(BooleanArray::new(values.finish(), nulls.finish()))
        }
        Kind::Text => {
            let (offsets, values) = texts(rows, &mut nulls);
            Arc::new(StringArray::new(offsets, values, nulls.finish()))
        }
        Kind::Bytes => {
            let (offsets, values) = texts(rows, &mut nulls);
            Arc::new(BinaryArray::new(offsets, values, nulls.finish()))
        }
    }
}

fn fixed(data_type: &DataType, values: Buffer, len: usize, mut nulls: NullBufferBuilder) -> ArrayRef {
    let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(values).nulls(nulls.finish());
    make_array(data.build().expect("as many bytes as the values have"))
}

/// Values of a width that is known here, so that none is a call.
fn plain<const WIDTH: usize>(rows: &mut [&[u8]], nulls: &mut NullBufferBuilder) -> Buffer {
    let mut values: Vec<[u8; WIDTH]> = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        nulls.append(front(row, 1)[0] != NULL);
        let (value, rest) = row.split_first_chunk().expect("a value has its width");
        values.push(*value);
        *row = rest;
    }
    Buffer::from_vec(values.into_flattened())
}

fn numbers(width: usize, sign: Sign, rows: &mut [&[u8]], nulls: &mut NullBufferBuilder) -> MutableBuffer {
    let mut values = MutableBuffer::from_len_zeroed(rows.len() * width);
    for (value, row) in values.chunks_exact_mut(width).zip(rows) {
        let is_null = front(row, 1)[0] == NULL;
        nulls.append(!is_null);
        let ordered = front(row, width);
        if is_null {
            continue;
        }
        // What came from a negative number starts with a zero bit.
        let negative = sign.is_negative(!ordered[0]);
        if let (Ok(value), Ok(ordered)) = (<&mut [u8; 8]>::try_from(&mut *value), <[u8; 8]>::try_from(ordered)) {
            let turned = if negative { u64::MAX } else { u64::from(sign.mask()) << 56 };
            *value = (u64::from_be_bytes(ordered) ^ turned).to_le_bytes();
            continue;
        }
        value.copy_from_slice(ordered);
        value.reverse();
        if negative {
            value.iter_mut().for_each(|byte| *byte = !*byte);
        } else {
            value[width - 1] ^= sign.mask();
        }
    }
    values
}

fn texts(rows: &mut [&[u8]], nulls: &mut NullBufferBuilder) -> (OffsetBuffer<i32>, Buffer) {
    if rows.iter().all(|row| row[0] == HEX_20) {
        return addresses(rows, nulls);
    }
    let mut ends: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    ends.push(0);
    let mut values: Vec<u8> = Vec::with_capacity(rows.len() * TEXT_20);
    for row in rows {
        let marker = front(row, 1)[0];
        nulls.append(marker != NULL);
        match marker {
            NULL => {}
            HEX_20 => push_hex::<20, TEXT_20>(front(row, 20), &mut values),
            HEX_32 => push_hex::<32, TEXT_32>(front(row, 32), &mut values),
            _ => push_bytes(row, &mut values),
        }
        ends.push(i32::try_from(values.len()).expect("rows are decoded a few thousand at a time"));
    }
    (OffsetBuffer::new(ends.into()), values.into())
}

/// The same where all of it is 20 bytes in hex.
fn addresses(rows: &mut [&[u8]], nulls: &mut NullBufferBuilder) -> (OffsetBuffer<i32>, Buffer) {
    nulls.append_n_non_nulls(rows.len());
    let mut values = vec![b'0'; rows.len() * TEXT_20];
    for (text, row) in values.as_chunks_mut::<TEXT_20>().0.iter_mut().zip(rows.iter_mut()) {
        text[1] = b'x';
        hex::encode_to_slice(&front(row, 21)[1..], &mut text[2..]).expect("two digits a byte");
    }
    (OffsetBuffer::from_repeated_length(TEXT_20, rows.len()), values.into())
}

#[inline]
fn push_hex<const BYTES: usize, const DIGITS: usize>(bytes: &[u8], values: &mut Vec<u8>) {
    let mut text = [b'0'; DIGITS];
    text[1] = b'x';
    hex::encode_to_slice(bytes, &mut text[2..]).expect("two digits a byte");
    values.extend_from_slice(&text);
}

fn push_bytes(row: &mut &[u8], values: &mut Vec<u8>) {
    loop {
        let place = memchr2(END, ESCAPE, row).expect("text and bytes have an end");
        values.extend_from_slice(front(row, place));
        if front(row, 1)[0] == END {
            return;
        }
        values.push(front(row, 1)[0] - 1);
    }
}

#[inline]
fn front<'a>(row: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = row.split_at(len);
    *row = rest;
    front
}
