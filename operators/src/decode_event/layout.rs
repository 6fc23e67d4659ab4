//! Whether the bytes of a log are those of an event.
//!
//! Every offset and length is checked against the data, and the unused bits of every word against its type: a log
//! with other bits was written by another event. What is not looked at is the padding behind `bytes` and `string`,
//! which contracts written in assembly leave out. Where all values have a fixed place the data has just their length.
//!
//! Each byte of the data is read at most once: offsets may point anywhere, and a few hundred bytes of offsets to
//! offsets would otherwise stand for more values than any machine can hold.

use super::kind::{AbiType, Parameter, WORD};

/// Why a log with the topic of an event is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Foreign {
    /// The event has another number of indexed parameters.
    #[error("wrong number of topics")]
    Topics,
    /// The values have another size.
    #[error("wrong length of data")]
    DataLength,
    /// An offset or a length points behind the data, or parts overlap.
    #[error("an offset or a length does not fit the data")]
    Bounds,
    /// Bits are set that a value of the type does not have.
    #[error("a value does not fit its type")]
    Value,
}

/// The bytes of one log, being checked.
pub(super) struct Checked<'d> {
    data: &'d [u8],
    /// Bytes not read yet.
    left: usize,
    /// Whether all strings so far are UTF-8.
    pub(super) is_text: bool,
}

/// A word of data whose place was checked.
pub(super) fn word_at(data: &[u8], at: usize) -> Option<&[u8; WORD]> {
    data.get(at..)?.first_chunk()
}

/// A word as an offset or a length; none if it is larger than any data.
pub(super) fn size_of(word: &[u8; WORD]) -> Option<usize> {
    let (high, low) = word.split_at(WORD - 8);
    let low: [u8; 8] = low.try_into().expect("the last 8 bytes of 32");
    high.iter().all(|byte| *byte == 0).then(|| usize::try_from(u64::from_be_bytes(low)).ok()).flatten()
}

/// Whether the bits that a value of the type does not have are as they must be.
pub(super) fn is_clean(kind: &AbiType, word: &[u8; WORD]) -> bool {
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match kind {
        AbiType::Address => zero(&word[..12]),
        AbiType::Bool => zero(&word[..31]) && word[31] <= 1,
        AbiType::Uint(bits) => zero(&word[..WORD - bits / 8]),
        AbiType::Int(bits) => {
            let (high, low) = word.split_at(WORD - bits / 8);
            let sign = if low[0] & 0x80 == 0 { 0 } else { 0xff };
            high.iter().all(|byte| *byte == sign)
        }
        AbiType::FixedBytes(width) => zero(&word[*width..]),
        AbiType::Function => zero(&word[24..]),
        _ => true,
    }
}

impl<'d> Checked<'d> {
    pub(super) fn new(data: &'d [u8]) -> Checked<'d> {
        Checked { data, left: data.len(), is_text: true }
    }

    /// Checks the data of a log against the parameters that are not indexed, whose heads have `size` bytes.
    pub(super) fn parameters(&mut self, parameters: &[Parameter], size: usize) -> Result<(), Foreign> {
        let mut at = 0;
        let mut fixed = true;
        if self.data.len() < size {
            return Err(Foreign::DataLength);
        }
        for parameter in parameters.iter().filter(|parameter| !parameter.indexed) {
            fixed &= !parameter.kind.is_dynamic();
            self.value(&parameter.kind, at, 0)?;
            at += parameter.kind.head_size();
        }
        if fixed && self.data.len() != size { Err(Foreign::DataLength) } else { Ok(()) }
    }

    /// A value whose turn is at `at`; offsets count from `base`.
    fn value(&mut self, kind: &AbiType, at: usize, base: usize) -> Result<(), Foreign> {
        if kind.is_dynamic() {
            let offset = self.size(at)?;
            return self.tail(kind, base.checked_add(offset).ok_or(Foreign::Bounds)?);
        }
        match kind {
            AbiType::FixedArray(element, len) => self.elements(element, *len, at),
            AbiType::Tuple(_) => self.tail(kind, at),
            kind => {
                let word = self.word(at)?;
                if is_clean(kind, word) { Ok(()) } else { Err(Foreign::Value) }
            }
        }
    }

    /// A value that an offset points to.
    fn tail(&mut self, kind: &AbiType, at: usize) -> Result<(), Foreign> {
        match kind {
            AbiType::Bytes | AbiType::Text => {
                let len = self.size(at)?;
                let content = at.checked_add(WORD).ok_or(Foreign::Bounds)?;
                let end = content.checked_add(len).ok_or(Foreign::Bounds)?;
                let content = self.data.get(content..end).ok_or(Foreign::Bounds)?;
                self.left = self.left.checked_sub(len).ok_or(Foreign::Bounds)?;
                self.is_text &= *kind == AbiType::Bytes || std::str::from_utf8(content).is_ok();
                Ok(())
            }
            AbiType::Array(element) => {
                let len = self.size(at)?;
                self.elements(element, len, at.checked_add(WORD).ok_or(Foreign::Bounds)?)
            }
            AbiType::FixedArray(element, len) => self.elements(element, *len, at),
            AbiType::Tuple(components) => {
                let mut head = at;
                for component in components {
                    self.value(&component.kind, head, at)?;
                    head = head.checked_add(component.kind.head_size()).ok_or(Foreign::Bounds)?;
                }
                Ok(())
            }
            kind => self.value(kind, at, at),
        }
    }

    fn elements(&mut self, element: &AbiType, len: usize, base: usize) -> Result<(), Foreign> {
        let size = element.head_size();
        let end = size.checked_mul(len).and_then(|size| base.checked_add(size)).ok_or(Foreign::Bounds)?;
        if end > self.data.len() {
            return Err(Foreign::Bounds);
        }
        (0..len).try_for_each(|index| self.value(element, base + index * size, base))
    }

    fn word(&mut self, at: usize) -> Result<&'d [u8; WORD], Foreign> {
        self.left = self.left.checked_sub(WORD).ok_or(Foreign::Bounds)?;
        word_at(self.data, at).ok_or(Foreign::Bounds)
    }

    fn size(&mut self, at: usize) -> Result<usize, Foreign> {
        size_of(self.word(at)?).ok_or(Foreign::Bounds)
    }
}
