//! Strings and numbers of JSON text.

use std::borrow::Cow;

use super::reader::{JsonError, Problem, Reader, Result};

impl<'a> Reader<'a> {
    /// Reads a string that has no escapes.
    #[inline]
    pub(crate) fn plain_string(&mut self) -> Result<&'a str> {
        self.byte(b'"', "a string")?;
        let (start, end) = (self.at, self.at + plain_len(self.rest()));
        self.at = end;
        match self.bytes().get(end) {
            Some(b'"') => {
                self.at += 1;
                Ok(&self.text[start..end])
            }
            Some(b'\\') => Err(self.expected("hex text without escaped characters")),
            _ => Err(self.expected("no control character in a string")),
        }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.byte(b'"', "a string")?;
        let start = self.at;
        let mut plain_from = start;
        let mut text = String::new();
        loop {
            self.at += plain_len(self.rest());
            let plain = &self.text[plain_from..self.at];
            match self.bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    if plain_from == start {
                        return Ok(Cow::Borrowed(plain));
                    }
                    text.push_str(plain);
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    text.push_str(plain);
                    self.at += 1;
                    text.push(self.escape()?);
                    plain_from = self.at;
                }
                _ => return Err(self.expected("no control character in a string")),
            }
        }
    }

    /// Reads what comes after a backslash.
    fn escape(&mut self) -> Result<char> {
        let escape = self.rest().first().copied();
        let plain = match escape {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.expected("an escaped character")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Reads four hex digits, and four more where the first are half of a pair.
    fn unicode(&mut self) -> Result<char> {
        let unit = self.four_digits()?;
        if let Some(single) = char::from_u32(unit) {
            return Ok(single);
        }
        if unit >= 0xdc00 {
            return Err(self.expected("the first half of a surrogate pair"));
        }
        self.word("\\u")?;
        let low = self.four_digits()?;
        let pair = (0xdc00..0xe000).contains(&low).then(|| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        pair.and_then(char::from_u32).ok_or_else(|| self.expected("the second half of a surrogate pair"))
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.rest().first_chunk::<4>().ok_or(JsonError { at: self.at, problem: Problem::End })?;
        let mut value = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or_else(|| self.expected("four hex digits"))?;
            value = value << 4 | digit;
        }
        self.at += 4;
        Ok(value)
    }

    /// Reads a whole number of up to 64 bits.
    pub(crate) fn number(&mut self) -> Result<u64> {
        const WHAT: &str = "a whole number of up to 64 bits";
        self.peek();
        let start = self.at;
        let fault = JsonError { at: start, problem: Problem::Expected(WHAT) };
        let whole = self.skip_number()?;
        let digits = if whole { &self.text[start..self.at] } else { "" };
        digits.parse().map_err(|_| fault)
    }

    /// Passes over a number; tells whether it is whole and not negative.
    pub(super) fn skip_number(&mut self) -> Result<bool> {
        let start = self.at;
        if self.rest().first() == Some(&b'-') {
            self.at += 1;
        }
        let mut whole = self.at == start;
        let first = self.at;
        self.digits()?;
        if self.bytes()[first] == b'0' && self.at > first + 1 {
            return Err(JsonError { at: first, problem: Problem::Expected("a number without leading zeros") });
        }
        if self.rest().first() == Some(&b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.rest().first() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.rest().first() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(whole)
    }

    /// Passes over at least one digit.
    fn digits(&mut self) -> Result<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    /// Passes over a string. Halves of surrogate pairs may stand alone in what nobody reads.
    pub(super) fn skip_string(&mut self) -> Result<()> {
        self.byte(b'"', "a string")?;
        loop {
            self.at += plain_len(self.rest());
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', ..] => {
                    self.at += 2;
                    self.four_digits()?;
                }
                [b'\\', ..] => {
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(self.expected("no control character in a string")),
            }
        }
    }
}

/// Bytes looked at at once: the compiler makes vector instructions of it.
const LANES: usize = 16;

#[inline]
fn ends_plain(byte: u8) -> bool {
    // Without branches, or the compiler makes no vector instructions of it.
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

/// The number of bytes before the first quote, backslash or control character.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<LANES>();
    let plain = |chunk: &&[u8; LANES]| !chunk.iter().fold(false, |ends, byte| ends | ends_plain(*byte));
    let at = LANES * chunks.iter().take_while(plain).count();
    at + plain_len_of_words(&bytes[at..])
}

/// The same, eight bytes at a time.
fn plain_len_of_words(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte's high bit is set where subtracting borrowed; only bytes after a hit may be wrong.
        let zero_where = |byte: u8| {
            let other = word ^ (ONES * u64::from(byte));
            other.wrapping_sub(ONES) & !other
        };
        let control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let hits = (zero_where(b'"') | zero_where(b'\\') | control) & HIGHS;
        if hits != 0 {
            return 8 * index + usize::try_from(hits.trailing_zeros() / 8).expect("less than eight");
        }
    }
    let plain = tail.iter().take_while(|byte| !ends_plain(**byte)).count();
    8 * words.len() + plain
}
