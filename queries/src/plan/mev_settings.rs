//! `SET mev.… = '…'`: what the rules of the block relations know beyond the chain.
//!
//! | setting | value |
//! |---|---|
//! | `mev.labels` | a reference table with `address`, `name`, `kind`: it replaces the list that ships |
//! | `mev.prices` | a reference table with `token_address`, `valid_from`, `usd`, `decimals` |
//! | `mev.wrapped_native` | addresses of wrapped native coins |
//! | `mev.stablecoins` | `address:decimals` of tokens worth one dollar |
//! | `mev.loose_matches` | `on`: sandwiches whose amounts do not agree are rows too |
//! | `mev.traces` | `on`: native transfers inside transactions count |
//! | `mev.jit_blocks` | blocks within which a position may grow, be traded through and shrink; 1 |
//! | `mev.auction_blocks` | blocks within which a purchase is joined to the auction's beginning; 7200 |
//! | `mev.compound_v3_blocks` | blocks within which a sale is joined to an absorption; 300 |
//!
//! The address settings are added to what is known of the source's chain.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::cast::AsArray;
use arrow::array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use highwater_engine::model::wide::{ADDRESS_TYPE, timestamp_type};
use highwater_operators::mev::{Address, Label, LookBack, MevSettings};

use super::ir::PlannedSetting;
use super::job::Planner;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// The names after `mev.`.
const NAMES: [&str; 9] = [
    "labels",
    "prices",
    "wrapped_native",
    "stablecoins",
    "loose_matches",
    "traces",
    "jit_blocks",
    "auction_blocks",
    "compound_v3_blocks",
];

/// Whether a setting is for the planner.
pub(super) fn is_mev(name: &str) -> bool {
    name.starts_with("mev.")
}

/// What a job says.
#[derive(Default)]
pub(super) struct MevWishes {
    labels: Option<BTreeMap<Address, Label>>,
    prices: Vec<PriceRow>,
    wrapped_native: BTreeSet<Address>,
    stablecoins: BTreeMap<Address, u32>,
    loose_matches: bool,
    look_back: LookBack,
    pub(super) traces: bool,
}

/// A price from a time on: token, milliseconds, dollars for one smallest unit.
type PriceRow = (Address, i64, f64);

impl MevWishes {
    /// The settings of a source over this chain.
    pub(super) fn settings(&self, chain_id: Option<u64>) -> MevSettings {
        let mut settings = MevSettings::of_chain(chain_id.unwrap_or(1));
        if let Some(labels) = &self.labels {
            settings.labels.clone_from(labels);
        }
        settings.wrapped_native.extend(&self.wrapped_native);
        settings.stablecoins.extend(&self.stablecoins);
        settings.loose_matches = self.loose_matches;
        settings.look_back = self.look_back;
        for (token, from_ms, usd_per_raw_unit) in &self.prices {
            settings.prices.insert(*token, *from_ms, *usd_per_raw_unit);
        }
        settings
    }
}

impl Planner<'_> {
    /// Reads the settings of the job; mistakes are noted.
    pub(super) fn mev_wishes(&mut self) -> MevWishes {
        let mut wishes = MevWishes::default();
        let job = self.job;
        for statement in &job.statements {
            let crate::sql::Statement::Set(set) = statement else { continue };
            let setting =
                PlannedSetting { name: set.name.text.clone(), value: set.value.clone(), span: set.value_span };
            let Some(name) = setting.name.strip_prefix("mev.") else { continue };
            let taken = match name {
                "labels" => self.mev_table(&setting, &LABEL_COLUMNS).map(|rows| wishes.labels = Some(labels(&rows))),
                "prices" => self.mev_table(&setting, &price_columns()).map(|rows| wishes.prices = prices(&rows)),
                "wrapped_native" => addresses(&setting).map(|list| wishes.wrapped_native = list),
                "stablecoins" => stablecoins(&setting).map(|list| wishes.stablecoins = list),
                "loose_matches" => flag(&setting).map(|on| wishes.loose_matches = on),
                "traces" => flag(&setting).map(|on| wishes.traces = on),
                "jit_blocks" => blocks(&setting).map(|count| wishes.look_back.jit_blocks = count),
                "auction_blocks" => blocks(&setting).map(|count| wishes.look_back.auction_blocks = count),
                "compound_v3_blocks" => blocks(&setting).map(|count| wishes.look_back.compound_v3_blocks = count),
                _ => Err(unknown(&setting.name, set.name.span, name)),
            };
            if let Err(mistake) = taken {
                self.mistakes.push(mistake);
            }
        }
        wishes
    }

    /// The reference table that a setting names, with the wanted columns in the wanted types.
    fn mev_table(&self, setting: &PlannedSetting, columns: &[(&str, DataType)]) -> Result<RecordBatch, Diagnostic> {
        self.context.refuse_reloaded(&setting.value, setting.span)?;
        let rows = self.context.reference(&setting.value).ok_or_else(|| {
            Diagnostic::new(Code::UnknownTable, format!("table \"{}\" does not exist", setting.value), setting.span)
                .with_hint("name a reference table: CREATE TABLE … WITH (connector = 'csv', …)")
        })?;
        let list = || columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let mut picked = Vec::with_capacity(columns.len());
        for (name, data_type) in columns {
            let column = rows.column_by_name(name).ok_or_else(|| {
                let message = format!("table \"{}\" has no column \"{name}\"", setting.value);
                Diagnostic::new(Code::UnknownColumn, message, setting.span).with_note(format!("it needs {}", list()))
            })?;
            let converted = cast(column, data_type).map_err(|error| {
                let message = format!("column \"{name}\" of table \"{}\" has the wrong type", setting.value);
                Diagnostic::new(Code::TypeMismatch, message, setting.span).with_note(error.to_string())
            })?;
            picked.push((*name, converted));
        }
        RecordBatch::try_from_iter(picked)
            .map_err(|error| Diagnostic::new(Code::Internal, error.to_string(), setting.span))
    }
}

const LABEL_COLUMNS: [(&str, DataType); 3] =
    [("address", ADDRESS_TYPE), ("name", DataType::Utf8), ("kind", DataType::Utf8)];

fn price_columns() -> [(&'static str, DataType); 4] {
    [
        ("token_address", ADDRESS_TYPE),
        ("valid_from", timestamp_type()),
        ("usd", DataType::Float64),
        ("decimals", DataType::Int64),
    ]
}

/// Rows without an address are passed over.
fn labels(rows: &RecordBatch) -> BTreeMap<Address, Label> {
    let (names, kinds) = (rows.column(1).as_string::<i32>(), rows.column(2).as_string::<i32>());
    let rows = rows.column(0).as_fixed_size_binary().iter().zip(names.iter().zip(kinds));
    let labels = rows.filter_map(|(address, (name, kind))| {
        let label = Label { name: name.unwrap_or_default().to_owned(), kind: kind?.to_owned() };
        Some((address?.try_into().ok()?, label))
    });
    labels.collect()
}

/// Rows with a NULL are passed over: a price that is not known is not zero.
fn prices(rows: &RecordBatch) -> Vec<PriceRow> {
    let tokens = rows.column(0).as_fixed_size_binary().iter();
    let times = rows.column(1).as_primitive::<TimestampMillisecondType>().iter();
    let usd = rows.column(2).as_primitive::<Float64Type>().iter();
    let decimals = rows.column(3).as_primitive::<Int64Type>().iter();
    let prices = tokens.zip(times).zip(usd.zip(decimals)).filter_map(|((token, time), (usd, decimals))| {
        let scale = 10f64.powi(i32::try_from(decimals?).ok()?);
        Some((token?.try_into().ok()?, time?, usd? / scale))
    });
    prices.collect()
}

fn addresses(setting: &PlannedSetting) -> Result<BTreeSet<Address>, Diagnostic> {
    let parts = words(&setting.value).map(address);
    parts.collect::<Option<_>>().ok_or_else(|| bad(setting, "a list of addresses such as '0xc02a…6cc2'"))
}

fn stablecoins(setting: &PlannedSetting) -> Result<BTreeMap<Address, u32>, Diagnostic> {
    let parts = words(&setting.value).map(|part| {
        let (token, decimals) = part.split_once(':')?;
        Some((address(token)?, decimals.parse().ok().filter(|decimals| *decimals <= 36)?))
    });
    parts.collect::<Option<_>>().ok_or_else(|| bad(setting, "a list of address:decimals such as '0xa0b8…eb48:6'"))
}

pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty())
}

pub(super) fn address(text: &str) -> Option<Address> {
    text.parse::<alloy_primitives::Address>().ok().map(|address| address.into_array())
}

fn flag(setting: &PlannedSetting) -> Result<bool, Diagnostic> {
    match setting.value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(bad(setting, "on or off")),
    }
}

fn blocks(setting: &PlannedSetting) -> Result<u64, Diagnostic> {
    let count = setting.value.parse().ok().filter(|count| (1..=LookBack::MOST_BLOCKS).contains(count));
    count.ok_or_else(|| bad(setting, &format!("a number of blocks from 1 to {}", LookBack::MOST_BLOCKS)))
}

fn bad(setting: &PlannedSetting, expected: &str) -> Diagnostic {
    Diagnostic::new(Code::BadOption, format!("setting \"{}\" is not {expected}", setting.name), setting.span)
}

fn unknown(setting: &str, span: crate::diagnostic::Span, name: &str) -> Diagnostic {
    let hint = did_you_mean(name, NAMES).unwrap_or_else(|| format!("there are {}", NAMES.join(", ")));
    Diagnostic::new(Code::BadOption, format!("there is no setting \"{setting}\""), span).with_hint(hint)
}
