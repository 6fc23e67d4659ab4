//! Rows of Nexmark's streams: a minute before midnight and, ten hours later, some bids more.

use arrow::temporal_conversions::timestamp_ms_to_datetime;

use crate::random::Random;
use crate::workload::Rows;

/// 2015-07-15 23:59:30.
const START_MS: u64 = 1_437_004_770_000;
const PERSONS: u64 = 24;
const AUCTIONS: u64 = 40;
const BIDS: u64 = 240;
/// What auctions and persons are numbered from.
const FIRST: u64 = 1_100;
const MINUTE_MS: u64 = 60_000;

fn time(ms: u64) -> String {
    timestamp_ms_to_datetime(i64::try_from(START_MS + ms).unwrap()).unwrap().to_string()
}

/// All tables.
pub(crate) fn rows() -> Vec<(&'static str, Rows)> {
    let mut random = Random::new(11);
    let person = (0..PERSONS).map(|index| person(&mut random, index)).collect();
    let auction = (0..AUCTIONS).map(|index| auction(&mut random, index)).collect();
    let bid = (0..BIDS).map(|index| bid(&mut random, index)).collect();
    let side_input = (0..20).map(|key| format!("{}, 'side {key}'", 2 * key)).collect();
    vec![("person", person), ("auction", auction), ("bid", bid), ("side_input", side_input)]
}

fn person(random: &mut Random, index: u64) -> String {
    let (id, came) = (FIRST + index, time(index * MINUTE_MS / PERSONS));
    let (city, state) =
        random.pick(&[("Portland", "OR"), ("Boise", "ID"), ("Palo Alto", "CA"), ("Seattle", "WA"), ("Kent", "WA")]);
    format!("{id}, 'person {index}', 'p{index}@example.com', '1111 2222', '{city}', '{state}', '{came}', 'x'")
}

fn auction(random: &mut Random, index: u64) -> String {
    let opened = index * MINUTE_MS / AUCTIONS;
    // The hot seller, or one of the persons who came last.
    let recent = (index * PERSONS / AUCTIONS).saturating_sub(random.below(4));
    let seller = FIRST + if random.below(2) == 0 { 0 } else { recent };
    let (id, category, initial) = (FIRST + index, 10 + random.below(4), random.below(1_000));
    let (opened, expires) = (time(opened), time(opened + 5_000 + random.below(20_000)));
    format!(
        "{id}, 'item {index}', 'of category {category}', {initial}, {}, '{opened}', '{expires}', {seller}, {category}, 'y'",
        2 * initial
    )
}

fn bid(random: &mut Random, index: u64) -> String {
    let late = index > BIDS * 5 / 6;
    let at = if late { 600 * MINUTE_MS } else { 0 } + index * MINUTE_MS / BIDS + random.below(3) * 100;
    // Hot auctions and hot bidders, as in the generator of Nexmark.
    let newest = index * AUCTIONS / BIDS;
    let auction = FIRST + if random.below(2) == 0 { newest / 8 * 8 } else { newest.saturating_sub(random.below(6)) };
    let bidder = FIRST + if random.below(3) == 0 { 7 } else { random.below(PERSONS) };
    let price = (1 + random.below(60)) * 10_u64.pow(1 + u32::try_from(random.below(6)).unwrap());
    let (channel, query) = *random.pick(&[
        ("Google", "q=1"),
        ("apple", "q=2"),
        ("baidu", "q=3"),
        ("channel-9", "q=4&channel_id=9"),
        ("channel-none", "q=5"),
    ]);
    let folder = random.pick(&["abc", "ccd", "xyz"]);
    let when = time(at);
    format!(
        "{auction}, {bidder}, {price}, '{channel}', 'https://www.example.com/{folder}/item/{auction}/p.htm?{query}', \
         '{when}', 'c{folder}'"
    )
}
