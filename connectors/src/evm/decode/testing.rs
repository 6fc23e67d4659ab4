//! Arbitrary bytes as logs, for fuzzing and property tests.

use super::rows::{At, Decoded};
use super::transaction::LogReader;
use super::{Address, DECODERS, Feeds, RawLog, Word};
use crate::evm::field::Field;
use crate::evm::json::{Log, Receipt, Topics};

/// Reads `data` as the logs of two transactions and decodes them for all tables.
///
/// # Panics
/// If a decoder panics, or appends something and then fails.
pub fn decoders(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut logs = Vec::new();
    while let Some(log) = bytes.log() {
        logs.push(log);
    }
    let mut decoded = Decoded::default();
    let half = logs.len() / 2;
    for (position, log) in logs.iter().enumerate() {
        let at = At { receipt: usize::from(position >= half), log: position };
        let decoder = &DECODERS[log.decoder];
        let before = decoded.lengths();
        let raw = RawLog { at, address: log.address, topics: &log.topics, data: &log.data };
        if (decoder.decode)(raw, &mut decoded).is_err() {
            assert_eq!(decoded.lengths(), before, "{} left half of a log", decoder.signature);
        }
    }
    let receipts = receipts(&logs);
    let mut reader = LogReader::new(Feeds::ALL, Vec::new());
    let read = reader.read(&receipts);
    assert_eq!(read.lengths(), decoded.lengths(), "all logs are read, each once");
}

/// The bytes that [`decoders`] reads as this log; `None` if no decoder wants it, or it is longer than they can say.
pub fn encode_log(address: &[u8; 20], topics: &[Word], data: &[u8]) -> Option<Vec<u8>> {
    let (topic0, indexed) = topics.split_first()?;
    let decoder = DECODERS.iter().position(|decoder| decoder.topic0.0 == *topic0)?;
    let (words, rest) = data.as_chunks::<32>();
    if indexed.len() > 3 || words.len() > 15 || !rest.is_empty() {
        return None;
    }
    let shape = u8::try_from(indexed.len() | words.len() << 2).ok()?;
    let mut bytes = vec![u8::try_from(decoder).ok()? | WHOLE_ADDRESS, shape];
    bytes.extend(address);
    for word in indexed.iter().chain(words) {
        bytes.push(WHOLE_WORD);
        bytes.extend(word);
    }
    Some(bytes)
}

/// Set in the first byte of a log whose address follows.
const WHOLE_ADDRESS: u8 = 0x80;
/// Stands before a word that follows.
const WHOLE_WORD: u8 = 7;

/// Who sends the transactions, and to whom: addresses that words often are.
const PARTIES: [Address; 2] = [small(1), small(2)];

const fn small(number: u8) -> Address {
    let mut address = [0; 20];
    address[19] = number;
    address
}

struct AnyLog {
    decoder: usize,
    address: [u8; 20],
    topics: Vec<Word>,
    data: Vec<u8>,
}

fn receipts(logs: &[AnyLog]) -> [Receipt<'_>; 2] {
    let (one, two) = logs.split_at(logs.len() / 2);
    [receipt(one), receipt(two)]
}

fn receipt(logs: &[AnyLog]) -> Receipt<'_> {
    let logs = logs.iter().map(|log| {
        let topics: Vec<_> = log.topics.iter().map(|topic| Field::Bytes(topic)).collect();
        let (address, data) = (Field::Bytes(&log.address), Field::Bytes(&log.data));
        Log { address, data, topics: Topics::new(&topics), ..Log::default() }
    });
    let [from, to] = PARTIES.each_ref().map(|party| Field::Bytes(party));
    Receipt { from, to, logs: logs.collect(), ..Receipt::default() }
}

/// What is left of the bytes.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A word: a small number or an address most often, so that logs get past the first checks and
    /// amounts and addresses of different logs meet.
    fn word(&mut self) -> Option<Word> {
        let kind = self.byte()?;
        let mut word = [0; 32];
        match kind % 8 {
            0..4 => word[31] = kind >> 3,
            4 => word[31] = kind >> 3 << 5,
            5 => word[12..].fill(kind >> 3),
            6 => word.fill(0xff),
            _ => {
                for place in &mut word {
                    *place = self.byte()?;
                }
            }
        }
        Some(word)
    }

    fn log(&mut self) -> Option<AnyLog> {
        let first = self.byte()?;
        let decoder = usize::from(first & !WHOLE_ADDRESS) % DECODERS.len();
        let shape = self.byte()?;
        let mut address = [shape >> 6; 20];
        if first & WHOLE_ADDRESS != 0 {
            for place in &mut address {
                *place = self.byte()?;
            }
        }
        let mut topics = vec![DECODERS[decoder].topic0.0];
        for _ in 0..shape % 4 {
            topics.push(self.word()?);
        }
        let mut data = Vec::new();
        for _ in 0..(shape >> 2) % 16 {
            data.extend(self.word()?);
        }
        if shape == 0xff {
            data.truncate(data.len().saturating_sub(1));
        }
        Some(AnyLog { decoder, address, topics, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_log_makes_a_decoder_panic_or_leave_half_of_it(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            decoders(&data);
        }

        #[test]
        fn a_log_is_read_as_it_was_written(
            decoder in 0..DECODERS.len(),
            address: [u8; 20],
            words in proptest::collection::vec(any::<[u8; 32]>(), 0..18),
            indexed in 0usize..4,
        ) {
            let indexed = indexed.min(words.len());
            let topics: Vec<Word> = std::iter::once(DECODERS[decoder].topic0.0).chain(words[..indexed].iter().copied()).collect();
            let data = words[indexed..].as_flattened();
            let written = encode_log(&address, &topics, data);
            prop_assert_eq!(written.is_some(), words.len() - indexed < 16);
            if let Some(written) = written {
                let mut bytes = Bytes(&written);
                let log = bytes.log().expect("a whole log");
                prop_assert!(bytes.0.is_empty());
                prop_assert_eq!((log.decoder, log.address, log.topics, log.data), (decoder, address, topics, data.to_vec()));
            }
        }

        #[test]
        fn logs_of_the_right_shape_do_no_harm(
            decoder in 0..DECODERS.len(),
            words in proptest::collection::vec(0u8..8, 0..40),
            indexed in 0u8..4,
        ) {
            let count = u8::try_from(words.len() % 16).expect("less than 16");
            let head = [u8::try_from(decoder).expect("few"), (count << 2) | indexed];
            let body: Vec<u8> = words.iter().map(|word| word % 6 + 8 * (word % 3)).collect();
            decoders(&[&head[..], &body, &head, &body, &head, &body].concat());
        }
    }
}
