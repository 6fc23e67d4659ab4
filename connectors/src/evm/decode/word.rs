//! Reading the 32-byte words that topics and data are made of.

use alloy_primitives::{I256, U256};

use super::DecodeError;

/// Twenty bytes that name an account.
pub type Address = [u8; 20];

/// A number or hash, most significant byte first.
pub type Word = [u8; 32];

/// Zero.
pub(super) const ZERO: Word = [0; 32];

/// The native coin as a token.
pub(super) const NATIVE: Address = [0; 20];

/// The address in a word, which has twelve zero bytes in front.
pub(super) fn address(word: &Word) -> Result<Address, DecodeError> {
    let (front, address) = word.split_at(12);
    if front.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::NotAnAddress);
    }
    Ok(address.try_into().expect("32 - 12 = 20"))
}

/// The address that stands for the native coin in events of contracts that have no token for it.
const NATIVE_IN_EVENTS: Address = [0xee; 20];

/// The address of a coin; the native coin is the zero address everywhere here.
pub(super) fn coin(word: &Word) -> Result<Address, DecodeError> {
    let address = address(word)?;
    Ok(if address == NATIVE_IN_EVENTS { NATIVE } else { address })
}

/// An address as a word.
pub(super) fn word_of(address: &Address) -> Word {
    let mut word = ZERO;
    word[12..].copy_from_slice(address);
    word
}

/// The data as exactly `N` words.
pub(super) fn words<const N: usize>(data: &[u8]) -> Result<&[Word; N], DecodeError> {
    let (words, []) = data.as_chunks::<32>() else { return Err(DecodeError::DataLength) };
    words.try_into().map_err(|_| DecodeError::DataLength)
}

/// The topics after the first, exactly `N` of them.
pub(super) fn indexed<const N: usize>(topics: &[Word]) -> Result<&[Word; N], DecodeError> {
    let [_, indexed @ ..] = topics else { return Err(DecodeError::TopicCount) };
    indexed.try_into().map_err(|_| DecodeError::TopicCount)
}

/// An unsigned number of at most `bits` bits, which stays a word.
pub(super) fn unsigned(word: &Word, bits: usize) -> Result<Word, DecodeError> {
    if U256::from_be_bytes(*word).bit_len() > bits {
        return Err(DecodeError::Number);
    }
    Ok(*word)
}

/// An unsigned number of at most 32 bits.
pub(super) fn u32_of(word: &Word) -> Result<u32, DecodeError> {
    u32::try_from(U256::from_be_bytes(*word)).map_err(|_| DecodeError::Number)
}

/// A number of seconds or the like; `None` if it is larger than any time.
pub(super) fn i64_of(word: &Word) -> Option<i64> {
    i64::try_from(U256::from_be_bytes(*word)).ok()
}

/// A position in a pool: small, or the event is another one.
pub(super) fn small(word: &Word) -> Result<u8, DecodeError> {
    u8::try_from(U256::from_be_bytes(*word)).map_err(|_| DecodeError::Number)
}

/// A signed number of 32 bits at most, such as a tick.
pub(super) fn i32_of(word: &Word) -> Result<i32, DecodeError> {
    i32::try_from(I256::from_be_bytes(*word)).map_err(|_| DecodeError::Number)
}

/// A truth value.
pub(super) fn boolean(word: &Word) -> Result<bool, DecodeError> {
    match u32_of(word)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Number),
    }
}

/// Sign and size of a signed number.
pub(super) fn signed(word: &Word) -> (Sign, Word) {
    let (sign, size) = I256::from_be_bytes(*word).into_sign_and_abs();
    let sign = match sign {
        _ if size.is_zero() => Sign::Zero,
        alloy_primitives::Sign::Negative => Sign::Negative,
        alloy_primitives::Sign::Positive => Sign::Positive,
    };
    (sign, size.to_be_bytes())
}

/// Sign and size of `one - two`.
pub(super) fn difference(one: &Word, two: &Word) -> (Sign, Word) {
    let (one, two) = (U256::from_be_bytes(*one), U256::from_be_bytes(*two));
    match one.cmp(&two) {
        std::cmp::Ordering::Less => (Sign::Negative, (two - one).to_be_bytes()),
        std::cmp::Ordering::Equal => (Sign::Zero, ZERO),
        std::cmp::Ordering::Greater => (Sign::Positive, (one - two).to_be_bytes()),
    }
}

/// The bytes whose offset is in word `argument`: their length, then they.
pub(super) fn tail(data: &[u8], argument: usize) -> Result<&[u8], DecodeError> {
    let (start, count) = tail_start(data, argument)?;
    data.get(start..).and_then(|rest| rest.get(..count)).ok_or(DecodeError::Lists)
}

/// The list of words whose offset is in word `argument`: its length, then they.
pub(super) fn list(data: &[u8], argument: usize) -> Result<&[Word], DecodeError> {
    let (start, count) = tail_start(data, argument)?;
    let bytes = count.checked_mul(32).ok_or(DecodeError::Lists)?;
    let items = data.get(start..).and_then(|rest| rest.get(..bytes)).ok_or(DecodeError::Lists)?;
    Ok(items.as_chunks::<32>().0)
}

/// Where what word `argument` points at begins, after its length, and that length.
fn tail_start(data: &[u8], argument: usize) -> Result<(usize, usize), DecodeError> {
    let word = |at: usize| data.get(at..).and_then(|rest| rest.first_chunk::<32>()).ok_or(DecodeError::Lists);
    let length = |word: &Word| {
        let number = u32_of(word).map_err(|_| DecodeError::Lists)?;
        usize::try_from(number).map_err(|_| DecodeError::Lists)
    };
    let start = length(word(argument * 32)?)?;
    Ok((start + 32, length(word(start)?)?))
}

/// On which side of zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    Negative,
    Zero,
    Positive,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_sizes() {
        let minus_three = I256::try_from(-3).expect("small").to_be_bytes::<32>();
        let three = U256::from(3).to_be_bytes::<32>();
        assert_eq!(signed(&minus_three), (Sign::Negative, three));
        assert_eq!(signed(&three), (Sign::Positive, three));
        assert_eq!(signed(&ZERO), (Sign::Zero, ZERO));
        let mut least = ZERO;
        least[0] = 0x80;
        assert_eq!(signed(&least), (Sign::Negative, least), "2^255 has no positive counterpart in 256 signed bits");
        assert_eq!(i32_of(&minus_three), Ok(-3));
        assert_eq!(i32_of(&least), Err(DecodeError::Number));
        assert_eq!(difference(&three, &ZERO), (Sign::Positive, three));
        assert_eq!(difference(&ZERO, &three), (Sign::Negative, three));
    }

    #[test]
    fn addresses_have_zeros_in_front() {
        assert_eq!(address(&word_of(&[7; 20])), Ok([7; 20]));
        assert_eq!(address(&[7; 32]), Err(DecodeError::NotAnAddress));
    }
}
