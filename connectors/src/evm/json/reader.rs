//! A forward-only reader of JSON text, made for objects whose keys come in the order they came in before.
//!
//! It accepts what `serde_json` accepts for the same types (the tests compare both), with one limit
//! more: values that are passed over may not be nested deeper than [`MAX_DEPTH`] either. It is faster
//! because it need not be general: a key is compared with the one that followed last time before it is
//! searched for, strings are borrowed, and their ends are looked for many bytes at a time.
//!
//! Cost: one pass over the text, no allocation but for lists and for text with escapes.

use std::borrow::Cow;
use std::fmt;

/// How deep lists and objects may be nested.
pub const MAX_DEPTH: u32 = 127;

/// Text that is not the JSON of what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something else had to be there.
    Expected(&'static str),
    /// A known key comes twice in one object.
    Twice(&'static str),
    /// Lists or objects are nested too deep.
    TooDeep,
    /// The text ends too early.
    End,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Expected(what) => write!(f, "expected {what}"),
            Problem::Twice(key) => write!(f, "a second {key}"),
            Problem::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Problem::End => f.write_str("the text ends too early"),
        }
    }
}

/// A result of reading JSON.
pub type Result<T, E = JsonError> = std::result::Result<T, E>;

/// What can be read from JSON text, borrowing from it.
pub trait Json<'a>: Sized {
    /// Reads one value, which the reader stands before.
    ///
    /// # Errors
    /// Text that is not JSON, or the JSON of something else.
    fn read(reader: &mut Reader<'a>) -> Result<Self>;

    /// Reads one value to the end of a list. Large ones are read in place.
    ///
    /// # Errors
    /// Text that is not JSON, or the JSON of something else; what is in the list then is worth nothing.
    fn push(reader: &mut Reader<'a>, list: &mut Vec<Self>) -> Result<()> {
        list.push(Self::read(reader)?);
        Ok(())
    }
}

/// Reads a whole text, which must hold one value and nothing else but white space.
///
/// # Errors
/// Text that is not JSON, or the JSON of something else.
pub fn from_str<'a, T: Json<'a>>(text: &'a str) -> Result<T> {
    let mut reader = Reader::new(text);
    let value = T::read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// The keys of an object: each quoted and with its colon, as it stands in text without white space.
pub(crate) type Keys<K> = &'static [(&'static str, K)];

/// Which objects have keys whose order is remembered.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Block,
    Transaction,
    Receipt,
    Log,
    Trace,
    Action,
    Call,
    /// Objects that come once or seldom.
    Other,
}

const SHAPES: usize = 8;
pub(crate) const MAX_KEYS: usize = 48;

/// An object while its keys are read.
pub(crate) struct Object {
    /// One more than the index of the known key read last; 0 before the first.
    last: usize,
    /// Whether nothing was read yet.
    first: bool,
}

/// Reads JSON text from its start to its end.
pub struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: u32,
    /// For each shape and each key (0 is the start) the key that came after it last time.
    followers: [[u8; MAX_KEYS]; SHAPES],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub fn new(text: &'a str) -> Reader<'a> {
        let mut order = [0; MAX_KEYS];
        for (follower, key) in order.iter_mut().zip(0u8..) {
            *follower = key;
        }
        Reader { text, at: 0, depth: 0, followers: [order; SHAPES] }
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    /// Anything else.
    pub fn finish(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the text")),
        }
    }

    /// The error that something is wrong here.
    pub(crate) fn error(&self, problem: Problem) -> JsonError {
        JsonError { at: self.at, problem }
    }

    /// The error that `what` is not here.
    pub(crate) fn expected(&self, what: &'static str) -> JsonError {
        let problem = if self.at >= self.text.len() { Problem::End } else { Problem::Expected(what) };
        JsonError { at: self.at, problem }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is not white space, which stays.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        match self.bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.peek_after_space(),
        }
    }

    #[cold]
    fn peek_after_space(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes().get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    pub(super) fn byte(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn word(&mut self, word: &'static str) -> Result<()> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads `null` if it is there.
    pub(crate) fn null(&mut self) -> Result<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    fn descend(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError { at: self.at, problem: Problem::TooDeep });
        }
        self.depth += 1;
        Ok(())
    }

    /// Reads a list; `item` is called before each item and must read it.
    #[inline]
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Reader<'a>) -> Result<()>) -> Result<()> {
        self.byte(b'[', "a list")?;
        self.descend()?;
        if self.peek() != Some(b']') {
            loop {
                item(self)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return Err(self.expected("a comma or the end of the list")),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads the start of an object.
    pub(crate) fn open(&mut self) -> Result<Object> {
        self.byte(b'{', "an object")?;
        self.descend()?;
        Ok(Object { last: 0, first: true })
    }

    /// Reads the next key that is known, and whatever unknown keys and their values come before it.
    /// `None` at the end of the object.
    #[inline]
    pub(crate) fn key<K: Copy>(&mut self, object: &mut Object, shape: Shape, keys: Keys<K>) -> Result<Option<K>> {
        let guess = usize::from(self.followers[shape as usize][object.last]);
        let separator = usize::from(!object.first);
        let rest = self.rest();
        if let Some((name, key)) = keys.get(guess)
            && (object.first || rest.first() == Some(&b','))
            && rest.get(separator..).is_some_and(|rest| rest.starts_with(name.as_bytes()))
        {
            self.at += separator + name.len();
            *object = Object { last: guess + 1, first: false };
            return Ok(Some(*key));
        }
        self.search_key(object, shape, keys)
    }

    fn search_key<K: Copy>(&mut self, object: &mut Object, shape: Shape, keys: Keys<K>) -> Result<Option<K>> {
        while self.next_key(&mut object.first)? {
            let key = self.string()?;
            self.byte(b':', "a colon")?;
            let named = |(name, _): &(&str, K)| name[1..name.len() - 2] == *key;
            if let Some(found) = keys.iter().position(named) {
                // Keys beyond 255 would only be guessed wrong.
                self.followers[shape as usize][object.last] = u8::try_from(found).unwrap_or(u8::MAX);
                object.last = found + 1;
                return Ok(Some(keys[found].1));
            }
            self.skip()?;
        }
        Ok(None)
    }

    /// Goes to the next key of an object; false at its end.
    fn next_key(&mut self, first: &mut bool) -> Result<bool> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !*first => {
                self.at += 1;
                self.peek();
            }
            Some(_) if *first => {}
            _ => return Err(self.expected("a comma or the end of the object")),
        }
        *first = false;
        Ok(true)
    }

    /// Reads the keys of an object and passes over their values.
    pub(crate) fn keys(&mut self) -> Result<Vec<Cow<'a, str>>> {
        let mut keys = Vec::new();
        let mut first = self.open()?.first;
        while self.next_key(&mut first)? {
            keys.push(self.string()?);
            self.byte(b':', "a colon")?;
            self.skip()?;
        }
        Ok(keys)
    }

    /// Goes to the next value and tells where it starts.
    pub(crate) fn start(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Reads a truth value.
    pub(crate) fn truth(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            _ => Err(self.expected("true or false")),
        }
    }

    /// Passes over a value of any kind.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => {
                let mut first = self.open()?.first;
                while self.next_key(&mut first)? {
                    self.skip_string()?;
                    self.byte(b':', "a colon")?;
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'[') => self.list(Reader::skip),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.skip_number().map(drop),
            _ => Err(self.expected("a value")),
        }
    }
}
