//! How the rows of tables get to a query: all at once, one by one, or coming and going.

use arrow::record_batch::RecordBatch;
use highwater_engine::model::Delta;

use super::SessionError;
use super::table::Table;

/// How the rows of tables get to a query. What the query holds after the last tick is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Feeding {
    /// All rows that are there, in one tick.
    #[default]
    Batch,
    /// Everything that happened to the tables, one row a tick.
    Row,
    /// The rows that are there come, go and come again in an order that the seed decides, beside rows that come
    /// and go for good; one to five changes a tick.
    Churn(u64),
}

/// The changes of one tick, and what is final after it.
#[derive(Default)]
pub(super) struct Tick {
    /// Index of the table, rows and their change.
    pub(super) changes: Vec<(usize, Delta)>,
    /// Rows of earlier times are final in all tables that have a watermark, milliseconds.
    pub(super) final_ms: Option<i64>,
}

/// The ticks of a query over these tables. The last tick only says what is final, if anything is.
pub(super) fn ticks(tables: &[&Table], feeding: Feeding) -> Result<Vec<Tick>, SessionError> {
    let mut ticks = match feeding {
        Feeding::Batch => {
            let mut tick = Tick::default();
            for (index, table) in tables.iter().enumerate() {
                let rows = table.rows()?;
                if rows.num_rows() > 0 {
                    tick.changes.push((index, delta(rows, 1)));
                }
            }
            vec![tick]
        }
        Feeding::Row => row_by_row(tables),
        Feeding::Churn(seed) => churned(tables, seed)?,
    };
    let everything: Vec<usize> = tables.iter().map(|table| table.history.len()).collect();
    let final_ms = final_ms(tables, &everything);
    if final_ms.is_some() {
        ticks.push(Tick { changes: Vec::new(), final_ms });
    }
    Ok(ticks)
}

/// What is final in all tables with a watermark after so many changes of each.
fn final_ms(tables: &[&Table], changes: &[usize]) -> Option<i64> {
    let marked = tables.iter().zip(changes).filter(|(table, _)| table.is_watermarked());
    let each: Option<Vec<i64>> = marked.map(|(table, changes)| table.final_ms(*changes)).collect();
    each?.into_iter().min()
}

fn delta(rows: RecordBatch, diff: i64) -> Delta {
    let count = rows.num_rows();
    Delta::derived(rows, vec![diff; count])
}

fn row_by_row(tables: &[&Table]) -> Vec<Tick> {
    let mut ticks = vec![Tick::default()];
    // With a watermark rows become final between two statements.
    let marked = tables.iter().filter(|table| table.is_watermarked()).count();
    let mut done = vec![0; tables.len()];
    for (index, table) in tables.iter().enumerate() {
        for (rows, diff) in &table.history {
            let final_ms = if marked == 1 { final_ms(tables, &done) } else { None };
            let changes = |row| vec![(index, delta(rows.slice(row, 1), *diff))];
            ticks.extend((0..rows.num_rows()).map(|row| Tick { changes: changes(row), final_ms }));
            done[index] += 1;
        }
    }
    ticks
}

/// What is still to happen to one row: it comes and goes in turn, so many times.
struct Pending {
    table: usize,
    row: RecordBatch,
    left: u64,
    there: bool,
}

fn churned(tables: &[&Table], seed: u64) -> Result<Vec<Tick>, SessionError> {
    let mut random = Random(seed);
    let mut pending = Vec::new();
    for (table, held) in tables.iter().enumerate() {
        let rows = held.rows()?;
        for row in 0..rows.num_rows() {
            // An odd number of turns leaves the row there, an even one leaves it gone.
            let left = 1 + 2 * (random.below(4) / 2);
            pending.push(Pending { table, row: rows.slice(row, 1), left, there: false });
            if random.below(3) == 0 {
                pending.push(Pending { table, row: rows.slice(row, 1), left: 2, there: false });
            }
        }
        for (gone, _) in held.history.iter().filter(|(_, diff)| *diff < 0) {
            let rows = (0..gone.num_rows()).map(|row| gone.slice(row, 1));
            pending.extend(rows.map(|row| Pending { table, row, left: 2, there: false }));
        }
    }
    let mut ticks = vec![Tick::default()];
    while !pending.is_empty() {
        let mut tick = Tick::default();
        for _ in 0..=random.below(5) {
            if pending.is_empty() {
                break;
            }
            let at = random.index(pending.len());
            let next = &mut pending[at];
            tick.changes.push((next.table, delta(next.row.clone(), if next.there { -1 } else { 1 })));
            next.there = !next.there;
            next.left -= 1;
            if next.left == 0 {
                pending.swap_remove(at);
            }
        }
        ticks.push(tick);
    }
    Ok(ticks)
}

/// SplitMix64: the same order for the same seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }
}
