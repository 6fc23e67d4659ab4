//! Values of logs that were checked, as columns.
//!
//! A column is made value by value from where the values stand in topics and data; nothing is built in between.

use std::fmt::Write as _;
use std::sync::Arc;

use alloy_primitives::{I256, U256};
use arrow::array::{ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, StringBuilder};
use highwater_engine::model::format::json_string;
use highwater_engine::model::wide::int256_to_bytes;

use super::kind::{AbiType, WORD};
use super::layout::{size_of, word_at};

/// Why a checked place cannot be missing.
const CHECKED: &str = "the places of values were checked";

/// The bytes in which a parameter stands, and where its turn is in them.
pub(super) type Site<'d> = (&'d [u8], usize);

/// A column of hashes.
pub(super) fn hashes<'d>(sites: impl ExactSizeIterator<Item = Site<'d>>) -> ArrayRef {
    fixed(sites, 0, WORD, |word| *word)
}

/// A column of the values of one parameter.
pub(super) fn column<'d>(kind: &AbiType, sites: impl ExactSizeIterator<Item = Site<'d>>) -> ArrayRef {
    match kind {
        AbiType::Address => fixed(sites, 12, 20, |word| *word),
        AbiType::Bool => {
            let mut builder = BooleanBuilder::with_capacity(sites.len());
            sites.for_each(|site| builder.append_value(word(site)[WORD - 1] == 1));
            Arc::new(builder.finish())
        }
        AbiType::Uint(_) | AbiType::Int(_) if kind.is_small() => {
            let mut builder = Int64Builder::with_capacity(sites.len());
            sites.for_each(|site| builder.append_value(small(word(site))));
            Arc::new(builder.finish())
        }
        AbiType::Uint(_) => fixed(sites, 0, WORD, |word| *word),
        AbiType::Int(_) => fixed(sites, 0, WORD, |word| int256_to_bytes(I256::from_be_bytes(*word))),
        AbiType::FixedBytes(width) => fixed(sites, 0, *width, |word| *word),
        AbiType::Function => fixed(sites, 0, 24, |word| *word),
        AbiType::Bytes => {
            let mut builder = BinaryBuilder::with_capacity(sites.len(), 0);
            sites.for_each(|(data, at)| builder.append_value(content(data, size(data, at))));
            Arc::new(builder.finish())
        }
        AbiType::Text => {
            let mut builder = StringBuilder::with_capacity(sites.len(), 0);
            sites.for_each(|(data, at)| builder.append_value(text(content(data, size(data, at)))));
            Arc::new(builder.finish())
        }
        AbiType::Array(_) | AbiType::FixedArray(..) | AbiType::Tuple(_) => {
            let mut builder = StringBuilder::with_capacity(sites.len(), 0);
            for (data, at) in sites {
                // Text that is written into the builder belongs to the value that is ended next.
                let mut json = Json { out: &mut builder, data };
                json.value(kind, at, 0);
                builder.append_value("");
            }
            Arc::new(builder.finish())
        }
    }
}

/// A column of `width` bytes of each word, from byte `from` on.
fn fixed<'d>(
    sites: impl ExactSizeIterator<Item = Site<'d>>,
    from: usize,
    width: usize,
    stored: impl Fn(&[u8; WORD]) -> [u8; WORD],
) -> ArrayRef {
    let bytes = i32::try_from(width).expect("a word has 32 bytes");
    let mut builder = FixedSizeBinaryBuilder::with_capacity(sites.len(), bytes);
    for site in sites {
        let stored = stored(word(site));
        builder.append_value(&stored[from..from + width]).expect("every value has the width of the column");
    }
    Arc::new(builder.finish())
}

fn word<'d>((data, at): Site<'d>) -> &'d [u8; WORD] {
    word_at(data, at).expect(CHECKED)
}

/// A number that fits 63 bits and a sign.
fn small(word: &[u8; WORD]) -> i64 {
    i64::from_be_bytes(word[WORD - 8..].try_into().expect("the last 8 bytes of 32"))
}

fn size(data: &[u8], at: usize) -> usize {
    size_of(word((data, at))).expect(CHECKED)
}

/// What is behind a length.
fn content(data: &[u8], at: usize) -> &[u8] {
    let start = at + WORD;
    &data[start..start + size(data, at)]
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a log whose text is not UTF-8 is an error row")
}

/// Writes values as JSON: whole numbers that fit 63 bits as numbers, larger types as strings of digits, bytes as hex,
/// arrays and tuples as arrays, tuples whose parts all have names as objects.
struct Json<'j, 'd> {
    out: &'j mut StringBuilder,
    data: &'d [u8],
}

impl Json<'_, '_> {
    fn value(&mut self, kind: &AbiType, at: usize, base: usize) {
        if kind.is_dynamic() {
            self.tail(kind, base + size(self.data, at));
            return;
        }
        match kind {
            AbiType::FixedArray(element, len) => self.elements(element, *len, at),
            AbiType::Tuple(_) => self.tail(kind, at),
            kind => self.word(kind, word((self.data, at))),
        }
    }

    fn tail(&mut self, kind: &AbiType, at: usize) {
        match kind {
            AbiType::Bytes => self.hex(content(self.data, at)),
            AbiType::Text => self.string(text(content(self.data, at))),
            AbiType::Array(element) => self.elements(element, size(self.data, at), at + WORD),
            AbiType::FixedArray(element, len) => self.elements(element, *len, at),
            AbiType::Tuple(components) => {
                let named = components.iter().all(|component| !component.name.is_empty());
                let mut head = at;
                self.put(if named { "{" } else { "[" });
                for (index, component) in components.iter().enumerate() {
                    if index > 0 {
                        self.put(",");
                    }
                    if named {
                        self.string(&component.name);
                        self.put(":");
                    }
                    self.value(&component.kind, head, at);
                    head += component.kind.head_size();
                }
                self.put(if named { "}" } else { "]" });
            }
            kind => self.value(kind, at, at),
        }
    }

    fn elements(&mut self, element: &AbiType, len: usize, base: usize) {
        let size = element.head_size();
        self.put("[");
        for index in 0..len {
            if index > 0 {
                self.put(",");
            }
            self.value(element, base + index * size, base);
        }
        self.put("]");
    }

    fn word(&mut self, kind: &AbiType, word: &[u8; WORD]) {
        match kind {
            AbiType::Bool => self.put(if word[WORD - 1] == 1 { "true" } else { "false" }),
            AbiType::Uint(_) | AbiType::Int(_) if kind.is_small() => self.show(format_args!("{}", small(word))),
            AbiType::Uint(_) => self.show(format_args!("\"{}\"", U256::from_be_bytes(*word))),
            AbiType::Int(_) => self.show(format_args!("\"{}\"", I256::from_be_bytes(*word))),
            AbiType::Address => self.hex(&word[12..]),
            AbiType::FixedBytes(width) => self.hex(&word[..*width]),
            AbiType::Function => self.hex(&word[..24]),
            _ => self.hex(word),
        }
    }

    fn hex(&mut self, bytes: &[u8]) {
        self.put("\"0x");
        for byte in bytes {
            self.show(format_args!("{byte:02x}"));
        }
        self.put("\"");
    }

    fn string(&mut self, text: &str) {
        let mut quoted = String::new();
        json_string(&mut quoted, text);
        self.put(&quoted);
    }

    fn put(&mut self, text: &str) {
        self.show(format_args!("{text}"));
    }

    fn show(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a builder takes any text");
    }
}
