//! Reads an event as Solidity writes it: `Transfer(address indexed from, address indexed to, uint256 value)`.
//!
//! Beyond Solidity: `event` may stand in front and `;` behind, names may be left out, and a tuple is written
//! `(uint256 a, address b)` or `tuple(uint256 a, address b)`, with or without names.

use alloy_primitives::keccak256;

use super::kind::{AbiType, Component, Parameter, WORD};

/// Levels of arrays and tuples inside each other.
const DEEPEST: usize = 16;
/// Bytes that the values without offsets may take: far more than any contract emits.
const LARGEST_HEAD: usize = 1 << 20;

/// An event as a contract declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSignature {
    /// Its name.
    pub name: String,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// Whether its logs do not say which event they are.
    pub anonymous: bool,
}

/// Why a text is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SignatureError {
    /// What is wrong: lower case, factual.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the text, in bytes: `start..end`.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl EventSignature {
    /// Reads an event.
    ///
    /// # Errors
    /// If the text is not an event, or one that no contract can emit.
    pub fn parse(text: &str) -> Result<EventSignature, SignatureError> {
        Parser { text, at: 0 }.event()
    }

    /// The text whose hash is the first topic: `Transfer(address,address,uint256)`.
    pub fn canonical(&self) -> String {
        let kinds: Vec<String> = self.parameters.iter().map(|parameter| parameter.kind.to_string()).collect();
        format!("{}({})", self.name, kinds.join(","))
    }

    /// The first topic of its logs; none for an anonymous event.
    pub fn topic0(&self) -> Option<[u8; 32]> {
        (!self.anonymous).then(|| keccak256(self.canonical()).0)
    }

    /// How many topics its logs have.
    pub fn topics(&self) -> usize {
        usize::from(!self.anonymous) + self.parameters.iter().filter(|parameter| parameter.indexed).count()
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

type Parse<T> = Result<T, SignatureError>;

impl<'t> Parser<'t> {
    fn event(mut self) -> Parse<EventSignature> {
        let mut name = self.word();
        if name == "event" && !self.rest().starts_with('(') {
            name = self.word();
        }
        if name.is_empty() {
            let hint = "write an event such as 'Transfer(address indexed from, address indexed to, uint256 value)'";
            return Err(self.here("expected the name of an event").hint(hint));
        }
        self.expect('(')?;
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut size = 0_usize;
        while !self.take(')') {
            if !parameters.is_empty() {
                self.expect(',')?;
            }
            let start = self.start();
            let parameter = self.parameter()?;
            size = size.saturating_add(parameter.kind.head_size());
            let taken = |known: &Parameter| !known.name.is_empty() && known.name == parameter.name;
            if parameters.iter().any(taken) {
                return Err(self.since(start, format!("two parameters are named \"{}\"", parameter.name)));
            }
            if size > LARGEST_HEAD {
                return Err(self.since(start, "the values of the event are too large for a log"));
            }
            parameters.push(parameter);
        }
        let anonymous = self.anonymous()?;
        let event = EventSignature { name: name.to_owned(), parameters, anonymous };
        if event.topics() > 4 {
            let most = if anonymous { "4 indexed parameters" } else { "3 indexed parameters" };
            let mistake = SignatureError {
                message: format!("a log has 4 topics, so an event has at most {most}"),
                hint: None,
                start: 0,
                end: self.text.len(),
            };
            return Err(mistake);
        }
        Ok(event)
    }

    /// What stands behind the parameters.
    fn anonymous(&mut self) -> Parse<bool> {
        let start = self.start();
        let word = self.word();
        if !word.is_empty() && word != "anonymous" {
            let message = format!("expected anonymous or the end, found {word}");
            return Err(self.since(start, message));
        }
        self.take(';');
        if self.rest().is_empty() {
            return Ok(!word.is_empty());
        }
        Err(self.here("expected the end of the event"))
    }

    fn parameter(&mut self) -> Parse<Parameter> {
        let kind = self.kind(0)?;
        let start = self.start();
        let mut name = self.word();
        let indexed = name == "indexed";
        if indexed {
            name = self.word();
        }
        if matches!(name, "memory" | "calldata" | "storage") {
            return Err(self.since(start, format!("{name} does not belong to an event")).hint("remove it"));
        }
        Ok(Parameter { name: name.to_owned(), kind, indexed })
    }

    fn kind(&mut self, depth: usize) -> Parse<AbiType> {
        let start = self.start();
        if depth > DEEPEST {
            return Err(self.here("the type is nested too deeply"));
        }
        let word = self.word();
        let mut kind = match word {
            "" | "tuple" => self.tuple(depth)?,
            word => match named(word) {
                Some(kind) => kind,
                None => return Err(self.since(start, format!("there is no type {word}")).hint(advice(word))),
            },
        };
        if word == "address" {
            let before = self.at;
            if self.word() != "payable" {
                self.at = before;
            }
        }
        let mut levels = depth;
        while self.take('[') {
            levels += 1;
            let digits = self.word();
            kind = match digits {
                "" => AbiType::Array(Box::new(kind)),
                digits => match digits.parse().ok().filter(|len| (1..=LARGEST_HEAD / WORD).contains(len)) {
                    Some(len) => AbiType::FixedArray(Box::new(kind), len),
                    None => return Err(self.since(start, format!("an array cannot have {digits} elements"))),
                },
            };
            self.expect(']')?;
            if levels > DEEPEST {
                return Err(self.since(start, "the type is nested too deeply"));
            }
        }
        Ok(kind)
    }

    fn tuple(&mut self, depth: usize) -> Parse<AbiType> {
        let start = self.start();
        if !self.take('(') {
            return Err(self.here(format!("expected a type, found {}", self.shown())));
        }
        let mut components: Vec<Component> = Vec::new();
        while !self.take(')') {
            if !components.is_empty() {
                self.expect(',')?;
            }
            let kind = self.kind(depth + 1)?;
            let name = self.word().to_owned();
            components.push(Component { name, kind });
        }
        if components.is_empty() {
            return Err(self.since(start, "a tuple cannot be empty"));
        }
        Ok(AbiType::Tuple(components))
    }

    fn rest(&self) -> &'t str {
        self.text[self.at..].trim_start()
    }

    /// Where the next thing begins.
    fn start(&self) -> usize {
        self.text.len() - self.rest().len()
    }

    /// The letters, digits, `_` and `$` that come next.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        self.at = self.start() + len;
        &rest[..len]
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at = self.start() + wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Parse<()> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(self.here(format!("expected {wanted}, found {}", self.shown())))
    }

    /// The next thing, for people.
    fn shown(&self) -> String {
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        match &rest[..len.max(first)] {
            "" => "the end".to_owned(),
            shown => shown.to_owned(),
        }
    }

    fn here(&self, message: impl Into<String>) -> SignatureError {
        let start = self.start();
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let len = len.max(rest.chars().next().map_or(0, char::len_utf8));
        SignatureError { message: message.into(), hint: None, start, end: start + len }
    }

    fn since(&self, start: usize, message: impl Into<String>) -> SignatureError {
        SignatureError { message: message.into(), hint: None, start, end: self.at.max(start) }
    }
}

impl SignatureError {
    fn hint(mut self, hint: impl Into<String>) -> SignatureError {
        self.hint = Some(hint.into());
        self
    }
}

/// The type of a name.
fn named(word: &str) -> Option<AbiType> {
    match word {
        "address" => return Some(AbiType::Address),
        "bool" => return Some(AbiType::Bool),
        "string" => return Some(AbiType::Text),
        "bytes" => return Some(AbiType::Bytes),
        "byte" => return Some(AbiType::FixedBytes(1)),
        "function" => return Some(AbiType::Function),
        "uint" => return Some(AbiType::Uint(256)),
        "int" => return Some(AbiType::Int(256)),
        _ => {}
    }
    let number = |digits: &str, most: usize| {
        let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| plain && (1..=most).contains(number))
    };
    let bits = |digits: &str| number(digits, 256).filter(|bits| bits % 8 == 0);
    if let Some(digits) = word.strip_prefix("uint") {
        return bits(digits).map(AbiType::Uint);
    }
    if let Some(digits) = word.strip_prefix("int") {
        return bits(digits).map(AbiType::Int);
    }
    number(word.strip_prefix("bytes")?, 32).map(AbiType::FixedBytes)
}

fn advice(word: &str) -> &'static str {
    match word {
        "indexed" => "the type stands in front: address indexed from",
        word if word.starts_with("uint") || word.starts_with("int") => "bits go from 8 to 256 in steps of 8",
        word if word.starts_with("bytes") => "there are bytes, and bytes1 to bytes32",
        _ => "write address for a contract, uint8 for an enum, (type, …) for a struct",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        EventSignature::parse(text).map_or_else(|error| error.message, |event| event.canonical())
    }

    #[test]
    fn events_are_read() {
        let event = EventSignature::parse("event Transfer(address indexed from, address indexed to, uint256 value);");
        let event = event.expect("it is an event");
        assert_eq!(event.topics(), 3);
        assert_eq!(
            alloy_primitives::hex::encode(event.topic0().expect("it is not anonymous")),
            "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
        );
        assert_eq!(canonical("A()"), "A()");
        assert_eq!(
            canonical("A(uint,int[3][],byte, address payable indexed x)"),
            "A(uint256,int256[3][],bytes1,address)"
        );
        assert_eq!(
            canonical("O(tuple(address token, (uint128 a, string) [2] parts)[] indexed offer, function)"),
            "O((address,(uint128,string)[2])[],function)"
        );
        let note = EventSignature::parse(
            "LogNote(bytes4 indexed, address indexed, bytes32 indexed, bytes32 indexed, \
            bytes) anonymous",
        );
        let note = note.expect("it is an event");
        assert!(note.anonymous && note.topics() == 4 && note.topic0().is_none());
    }

    #[test]
    fn what_is_no_event_is_told_with_its_place() {
        let wrong = |text: &str| {
            let error = EventSignature::parse(text).expect_err(text);
            format!("{} at {:?}", error.message, &text[error.start..error.end])
        };
        assert_eq!(wrong("Transfer"), "expected (, found the end at \"\"");
        assert_eq!(wrong(""), "expected the name of an event at \"\"");
        assert_eq!(wrong("A(uint7 x)"), "there is no type uint7 at \"uint7\"");
        assert_eq!(wrong("A(IERC20 token)"), "there is no type IERC20 at \"IERC20\"");
        assert_eq!(wrong("A(bytes33)"), "there is no type bytes33 at \"bytes33\"");
        assert_eq!(wrong("A(uint256 a uint256 b)"), "expected ,, found uint256 at \"uint256\"");
        assert_eq!(wrong("A(uint256 a,)"), "expected a type, found ) at \")\"");
        assert_eq!(wrong("A(uint256 a, bool a)"), "two parameters are named \"a\" at \"bool a\"");
        assert_eq!(wrong("A(uint256[0] a)"), "an array cannot have 0 elements at \"uint256[0\"");
        assert_eq!(wrong("A(() a)"), "a tuple cannot be empty at \"()\"");
        assert_eq!(wrong("A(bytes memory a)"), "memory does not belong to an event at \"memory\"");
        assert_eq!(wrong("A() anonymus"), "expected anonymous or the end, found anonymus at \"anonymus\"");
        assert_eq!(
            wrong("A(uint256[30000][30000] a)"),
            "the values of the event are too large for a log at \"uint256[30000][30000] a\""
        );
        assert!(wrong(&format!("A({}", "(".repeat(100))).starts_with("the type is nested too deeply"));
        assert!(wrong(&format!("A(uint8{})", "[]".repeat(100))).starts_with("the type is nested too deeply"));
        let four = "A(bool indexed, bool indexed, bool indexed, bool indexed)";
        assert!(wrong(four).starts_with("a log has 4 topics, so an event has at most 3 indexed parameters"));
    }
}
