//! Bytes to columns.

use std::sync::Arc;

use alloy_primitives::hex;
use arrow::array::{ArrayData, ArrayRef, BinaryArray, BooleanArray, StringArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use memchr::memchr2;

use super::{END, ESCAPE, HEX_20, HEX_32, Kind, NULL, Sign, TEXT_20, TEXT_32};

/// Takes a column off the front of rows.
pub(super) fn column(kind: Kind, data_type: &DataType, rows: &mut [&[u8]]) -> ArrayRef {
    let nulls = nulls(rows);
    match kind {
        Kind::Number(8, sign) => fixed(data_type, numbers_of_8(sign, rows), rows.len(), nulls),
        Kind::Number(width, sign) => fixed(data_type, numbers(width, sign, rows), rows.len(), nulls),
        Kind::Plain(20) => fixed(data_type, plain::<21, 20>(rows), rows.len(), nulls),
        Kind::Plain(32) => fixed(data_type, plain::<33, 32>(rows), rows.len(), nulls),
        Kind::Plain(width) => {
            let mut values = MutableBuffer::with_capacity(rows.len() * width);
            rows.iter_mut().for_each(|row| values.extend_from_slice(&front(row, 1 + width)[1..]));
            fixed(data_type, values.into(), rows.len(), nulls)
        }
        Kind::Boolean => {
            let values: BooleanBuffer = rows.iter_mut().map(|row| front(row, 2)[1] != 0).collect();
            Arc::new(BooleanArray::new(values, nulls))
        }
        Kind::Text => {
            let (offsets, values) = texts(rows);
            Arc::new(StringArray::new(offsets, values, nulls))
        }
        Kind::Bytes => {
            let (offsets, values) = texts(rows);
            Arc::new(BinaryArray::new(offsets, values, nulls))
        }
    }
}

/// Which rows start with a value. Looked at before the values are, because most columns have no NULL; and the rows, which
/// lie anywhere in memory, are on their way when their values are read.
fn nulls(rows: &[&[u8]]) -> Option<NullBuffer> {
    let is_value = |row: &&[u8]| row[0] != NULL;
    // No short cut: the processor goes ahead further without one.
    let values = rows.iter().filter(|row| is_value(row)).count();
    (values < rows.len()).then(|| rows.iter().map(is_value).collect())
}

fn fixed(data_type: &DataType, values: Buffer, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let data = ArrayData::builder(data_type.clone()).len(len).add_buffer(values).nulls(nulls);
    make_array(data.build().expect("as many bytes as the values have"))
}

/// Takes a marker and a value, together of a width that is known here, so that neither is a call.
#[inline]
fn take<const FIELD: usize>(row: &mut &[u8]) -> [u8; FIELD] {
    let (field, rest) = row.split_first_chunk().expect("a value has its width");
    *row = rest;
    *field
}

fn plain<const FIELD: usize, const WIDTH: usize>(rows: &mut [&[u8]]) -> Buffer {
    let value =
        |row: &mut &[u8]| -> [u8; WIDTH] { *take::<FIELD>(row).last_chunk().expect("a field is a marker and a value") };
    Buffer::from_vec(rows.iter_mut().map(value).collect::<Vec<_>>().into_flattened())
}

/// What is to be turned in a number: what came from a negative one starts with a zero bit.
#[inline]
fn is_negative(sign: Sign, highest: u8) -> bool {
    sign.is_negative(!highest)
}

fn numbers_of_8(sign: Sign, rows: &mut [&[u8]]) -> Buffer {
    let value = |row: &mut &[u8]| -> u64 {
        let [marker, ordered @ ..] = take::<9>(row);
        let turned = if is_negative(sign, ordered[0]) { u64::MAX } else { u64::from(sign.mask()) << 56 };
        let value = u64::from_be_bytes(ordered) ^ turned;
        if marker == NULL { 0 } else { value }
    };
    // Of the width of the numbers, as which they are read.
    Buffer::from_vec(rows.iter_mut().map(value).collect::<Vec<u64>>())
}

fn numbers(width: usize, sign: Sign, rows: &mut [&[u8]]) -> Buffer {
    let mut values = MutableBuffer::from_len_zeroed(rows.len() * width);
    for (value, row) in values.chunks_exact_mut(width).zip(rows) {
        let is_null = front(row, 1)[0] == NULL;
        let ordered = front(row, width);
        if is_null {
            continue;
        }
        value.copy_from_slice(ordered);
        value.reverse();
        if is_negative(sign, ordered[0]) {
            value.iter_mut().for_each(|byte| *byte = !*byte);
        } else {
            value[width - 1] ^= sign.mask();
        }
    }
    values.into()
}

fn texts(rows: &mut [&[u8]]) -> (OffsetBuffer<i32>, Buffer) {
    if rows.iter().all(|row| row[0] == HEX_20) {
        return addresses(rows);
    }
    let mut ends: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    ends.push(0);
    let mut values: Vec<u8> = Vec::with_capacity(rows.len() * TEXT_20);
    for row in rows {
        match front(row, 1)[0] {
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
fn addresses(rows: &mut [&[u8]]) -> (OffsetBuffer<i32>, Buffer) {
    let mut values = vec![b'0'; rows.len() * TEXT_20];
    for (text, row) in values.as_chunks_mut::<TEXT_20>().0.iter_mut().zip(rows.iter_mut()) {
        text[1] = b'x';
        hex::encode_to_slice(&take::<21>(row)[1..], &mut text[2..]).expect("two digits a byte");
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
