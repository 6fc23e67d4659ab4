//! Bytes of saved state: little-endian numbers and length-prefixed strings.

use highwater_engine::error::StateError;

/// Appends to saved bytes.
pub(crate) trait Encode {
    /// Eight bytes.
    fn put_i64(&mut self, value: i64);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Sixteen bytes.
    fn put_i128(&mut self, value: i128);
    /// A length and the bytes.
    fn put_bytes(&mut self, bytes: &[u8]);
}

impl Encode for Vec<u8> {
    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i128(&mut self, value: i128) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_u64(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

/// Saved bytes that end early: the file is damaged or of another version.
#[derive(Debug)]
pub(crate) struct Truncated;

impl Truncated {
    /// As an error of the operator of this name.
    pub(crate) fn of(self, operator: &str) -> StateError {
        mismatch(operator, "a value ends early")
    }
}

/// Reads saved bytes.
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    /// The next bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// Eight bytes.
    pub(crate) fn i64(&mut self) -> Result<i64, Truncated> {
        self.take().map(i64::from_le_bytes)
    }

    /// Eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        self.take().map(u64::from_le_bytes)
    }

    /// Sixteen bytes.
    pub(crate) fn i128(&mut self) -> Result<i128, Truncated> {
        self.take().map(i128::from_le_bytes)
    }

    /// A length that must fit what is left, at one byte or more an element.
    pub(crate) fn length(&mut self) -> Result<usize, Truncated> {
        let length = usize::try_from(self.u64()?).map_err(|_| Truncated)?;
        if length > self.0.len() { Err(Truncated) } else { Ok(length) }
    }

    /// A length and the bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.length()?;
        let (head, rest) = self.0.split_at_checked(length).ok_or(Truncated)?;
        self.0 = rest;
        Ok(head)
    }
}

/// The saved state does not fit.
pub(crate) fn mismatch(operator: &str, detail: impl Into<String>) -> StateError {
    StateError::Mismatch { operator: operator.to_owned(), detail: detail.into() }
}
