//! Rows of TPC-H's tables: few, and skewed so that every query has an answer.

use arrow::datatypes::Date32Type;

use crate::random::Random;
use crate::workload::Rows;

/// Nation, region.
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
/// The nations of suppliers: those that queries ask for.
const SUPPLIERS: [usize; 12] = [18, 7, 7, 2, 3, 3, 20, 20, 18, 18, 8, 6];
/// The nations of customers.
const CUSTOMERS: [usize; 8] = [6, 7, 18, 2, 3, 8, 24, 18];
const PARTS: usize = 24;
const TYPES: [&str; 6] = [
    "STANDARD POLISHED BRASS",
    "PROMO BURNISHED COPPER",
    "ECONOMY ANODIZED STEEL",
    "SMALL PLATED BRASS",
    "MEDIUM POLISHED TIN",
    "LARGE BRUSHED BRASS",
];
const NAMES: [&str; 4] = ["forest green", "almond green", "forest khaki", "misty rose"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
/// Days since 1970 around which queries look: July and October 1993, March and May 1994, February, May, August and
/// December 1995.
const DAYS: [i32; 8] = [8601, 8688, 8834, 8900, 9181, 9260, 9362, 9484];
/// 1995-06-17, the current date of the specification.
const TODAY: i32 = 9298;

fn date(day: i32) -> String {
    Date32Type::to_naive_date_opt(day).unwrap().to_string()
}

/// Hundredths as a decimal number.
fn money(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// All tables, parents before children.
pub(crate) fn rows() -> Vec<(&'static str, Rows)> {
    let mut random = Random::new(18);
    let region = REGIONS.iter().enumerate().map(|(key, name)| format!("{key}, '{name}', 'about {name}'"));
    let nations = NATIONS.iter().enumerate();
    let nation = nations.map(|(key, (name, region))| format!("{key}, '{name}', {region}, 'about {name}'"));
    let mut tables = vec![("region", region.collect()), ("nation", nation.collect())];
    tables.push(("supplier", (1..=SUPPLIERS.len()).map(|key| supplier(&mut random, key)).collect()));
    tables.push(("customer", (1..=3 * CUSTOMERS.len()).map(|key| customer(&mut random, key)).collect()));
    tables.push(("part", (1..=PARTS).map(|key| part(&mut random, key)).collect()));
    tables.push(("partsupp", partsupp(&mut random)));
    let (orders, lineitem) = orders(&mut random);
    tables.push(("orders", orders));
    tables.push(("lineitem", lineitem));
    tables
}

fn supplier(random: &mut Random, key: usize) -> String {
    let nation = SUPPLIERS[key - 1];
    let comment = if key == 7 { "slow: Customer wrote Complaints" } else { "nothing to add" };
    let balance = money(random.below(900_000));
    format!(
        "{key}, 'Supplier#{key:03}', 'street {key}', {nation}, '{}-555-{key:04}', {balance}, '{comment}'",
        nation + 10
    )
}

fn customer(random: &mut Random, key: usize) -> String {
    let nation = CUSTOMERS[key % CUSTOMERS.len()];
    let segment = *random.pick(&["BUILDING", "BUILDING", "BUILDING", "AUTOMOBILE", "MACHINERY"]);
    let balance = money(random.below(990_000));
    let sign = if random.below(6) == 0 { "-" } else { "" };
    let phone = nation + 10;
    format!(
        "{key}, 'Customer#{key:03}', 'road {key}', {nation}, '{phone}-555-{key:04}', {sign}{balance}, '{segment}', 'none'"
    )
}

/// The first three parts are those that queries name, and most often bought.
fn part(random: &mut Random, key: usize) -> String {
    let (brand, container, size) = match key {
        1 => ("Brand#12", "SM BOX", 3),
        2 => ("Brand#23", "MED BOX", 5),
        3 => ("Brand#34", "LG CASE", 14),
        _ => {
            let size = *random.pick(&[15, 15, 49, 14, 3, 9]);
            (*random.pick(&["Brand#12", "Brand#45", "Brand#33"]), *random.pick(&["JUMBO BAG", "SM CASE"]), size)
        }
    };
    let kind = if key <= 3 { TYPES[key - 1] } else { *random.pick(&TYPES) };
    let name = NAMES[(key - 1) % NAMES.len()];
    let price = money(90_000 + 100 * key as u64);
    format!("{key}, '{name} {key}', 'Manufacturer#1', '{brand}', '{kind}', {size}, '{container}', {price}, 'none'")
}

/// The suppliers of a part.
fn suppliers(part: usize) -> [usize; 3] {
    [0, 4, 8].map(|step| (part + step) % SUPPLIERS.len() + 1)
}

fn partsupp(random: &mut Random) -> Rows {
    let pairs = (1..=PARTS).flat_map(|part| suppliers(part).map(|supplier| (part, supplier)));
    let row = |(part, supplier)| {
        let (quantity, cost) = (20 + random.below(80), money(100 + random.below(50_000)));
        format!("{part}, {supplier}, {quantity}, {cost}, 'none'")
    };
    pairs.map(row).collect()
}

fn orders(random: &mut Random) -> (Rows, Rows) {
    let (mut orders, mut lines) = (Rows::new(), Rows::new());
    for key in 1..=70_usize {
        // As in the specification every third customer has no orders.
        let customer = 3 * random.index(CUSTOMERS.len()) + 1 + random.index(2);
        let day = if random.below(4) > 0 { *random.pick(&DAYS) } else { 8200 } + random.small(40);
        let large = key % 14 == 0;
        let count = if large { 9 } else { 2 + random.index(4) };
        let status = if day < 9281 { "F" } else { *random.pick(&["O", "P"]) };
        let priority = random.pick(&PRIORITIES);
        let total = money(100_000 + random.below(9_000_000));
        let comment = if random.below(5) == 0 { "some special kind of requests" } else { "none" };
        let ordered = date(day);
        orders.push(format!(
            "{key}, {customer}, '{status}', {total}, '{ordered}', '{priority}', 'Clerk#1', 0, '{comment}'"
        ));
        lines.extend((1..=count).map(|number| line(random, key, number, day, large)));
    }
    (orders, lines)
}

fn line(random: &mut Random, order: usize, number: usize, ordered: i32, large: bool) -> String {
    let part = if random.below(2) == 0 { 1 + random.index(3) } else { 1 + random.index(PARTS) };
    let supplier = *random.pick(&suppliers(part));
    let quantity = if large { 44 + random.below(7) } else { 1 + random.below(30) };
    let price = money(quantity * (90_000 + 100 * part as u64));
    let (discount, tax) = (random.below(11), random.below(9));
    let shipped = ordered + 1 + random.small(60);
    let committed = ordered + 20 + random.small(50);
    let received = shipped + 1 + random.small(20);
    let returned = if received > TODAY { "N" } else { *random.pick(&["R", "A"]) };
    let status = if shipped > TODAY { "O" } else { "F" };
    let instruction = random.pick(&["DELIVER IN PERSON", "DELIVER IN PERSON", "NONE"]);
    let mode = random.pick(&["AIR", "AIR REG", "MAIL", "SHIP"]);
    let (shipped, committed, received) = (date(shipped), date(committed), date(received));
    format!(
        "{order}, {part}, {supplier}, {number}, {quantity}, {price}, 0.{discount:02}, 0.{tax:02}, '{returned}', \
         '{status}', '{shipped}', '{committed}', '{received}', '{instruction}', '{mode}', 'none'"
    )
}
