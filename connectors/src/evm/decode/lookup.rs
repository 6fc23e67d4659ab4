//! From a first topic to its decoder.

use std::sync::LazyLock;

use super::{DECODERS, Decoder, Word};

/// Places of the table: a power of two well above the number of decoders, so that most logs, which
/// are of no known event, find an empty place at once.
const PLACES: usize = 1024;

/// For each place the position of a decoder plus one; 0 is empty.
struct Lookup([u8; PLACES]);

static LOOKUP: LazyLock<Lookup> = LazyLock::new(|| {
    let mut places = [0; PLACES];
    for (position, decoder) in (1u8..).zip(DECODERS) {
        let mut place = first_place(&decoder.topic0.0);
        while places[place] != 0 {
            place = (place + 1) % PLACES;
        }
        places[place] = position;
    }
    Lookup(places)
});

/// Topics are hashes already, so their first bits are as good as any hash of them.
fn first_place(topic0: &Word) -> usize {
    usize::from(u16::from_be_bytes([topic0[0], topic0[1]])) % PLACES
}

/// The decoder for a first topic.
pub fn decoder(topic0: &Word) -> Option<&'static Decoder> {
    let places = &LOOKUP.0;
    let mut place = first_place(topic0);
    loop {
        let decoder = &DECODERS[usize::from(places[place].checked_sub(1)?)];
        if decoder.topic0.0 == *topic0 {
            return Some(decoder);
        }
        place = (place + 1) % PLACES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_is_found_and_nothing_else() {
        assert!(DECODERS.len() < 256 && DECODERS.len() * 8 < PLACES, "the table of places must grow");
        for one in DECODERS {
            assert_eq!(decoder(&one.topic0.0).map(|found| found.signature), Some(one.signature));
            let mut other = one.topic0.0;
            other[31] ^= 1;
            assert!(decoder(&other).is_none());
        }
    }
}
