//! Writing RLP from fields as they arrive.

use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

use crate::evm::field::{Fault, Field};

/// A field that cannot be written, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    pub(super) name: &'static str,
    pub(super) fault: Fault,
}

pub(super) type Result<T, E = Unwritten> = std::result::Result<T, E>;

/// RLP under construction. One is used for everything, so that writing allocates nothing in the long run.
#[derive(Debug, Default)]
pub(super) struct Rlp {
    pub(super) out: Vec<u8>,
    scratch: Vec<u8>,
}

impl Rlp {
    /// Appends a list of what `items` appends.
    pub(super) fn list(&mut self, items: impl FnOnce(&mut Rlp) -> Result<()>) -> Result<()> {
        let start = self.out.len();
        items(self)?;
        let header = Header { list: true, payload_length: self.out.len() - start };
        self.scratch.clear();
        header.encode(&mut self.scratch);
        self.out.splice(start..start, self.scratch.iter().copied());
        Ok(())
    }

    /// Appends a whole number of up to 256 bits.
    pub(super) fn number(&mut self, name: &'static str, field: Field<'_>) -> Result<()> {
        let wide = field.wide().map_err(|fault| Unwritten { name, fault })?;
        let zeros = wide.iter().take_while(|byte| **byte == 0).count();
        wide[zeros..].encode(&mut self.out);
        Ok(())
    }

    /// Appends exactly `N` bytes.
    pub(super) fn fixed<const N: usize>(&mut self, name: &'static str, field: Field<'_>) -> Result<()> {
        let bytes: [u8; N] = field.fixed().map_err(|fault| Unwritten { name, fault })?;
        bytes[..].encode(&mut self.out);
        Ok(())
    }

    /// Appends `N` bytes, or nothing's code where nothing is given.
    pub(super) fn optional<const N: usize>(&mut self, name: &'static str, field: Field<'_>) -> Result<()> {
        if field.is_absent() {
            self.out.push(EMPTY_STRING_CODE);
            return Ok(());
        }
        self.fixed::<N>(name, field)
    }

    /// Appends any bytes.
    pub(super) fn bytes(&mut self, name: &'static str, field: Field<'_>) -> Result<()> {
        self.scratch.clear();
        field.append_to(&mut self.scratch).map_err(|fault| Unwritten { name, fault })?;
        self.scratch[..].encode(&mut self.out);
        Ok(())
    }

    /// Appends bytes that are known.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        bytes.encode(&mut self.out);
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_are_written_as_the_library_writes_them(value: [u8; 32], shift in 0usize..256, bytes: Vec<u8>) {
            let number = U256::from_be_bytes(value) >> shift;
            let (text, hex) = (format!("{number:#x}"), alloy_primitives::hex::encode_prefixed(&bytes));
            let mut rlp = Rlp::default();
            rlp.list(|rlp| {
                rlp.number("number", Field::Hex(&text))?;
                rlp.bytes("bytes", Field::Hex(&hex))?;
                rlp.list(|rlp| rlp.fixed::<32>("fixed", Field::Bytes(&value)))?;
                rlp.optional::<20>("nothing", Field::Absent)
            }).unwrap();
            let mut items = alloy_rlp::encode(number);
            items.extend(alloy_rlp::encode(&bytes[..]));
            items.extend([0xc0 + 33, 0x80 + 32]);
            items.extend(value);
            items.push(0x80);
            let mut expected = Vec::new();
            Header { list: true, payload_length: items.len() }.encode(&mut expected);
            expected.extend(items);
            prop_assert_eq!(rlp.out, expected);
        }
    }
}
