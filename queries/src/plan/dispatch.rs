//! What a sink wants of an alert: when it is told, and how often.
//!
//! `CREATE SINK name FROM alert` becomes a relation of the sink's name: the notifications, those that are not sent
//! too, with the reason. A connector for notifications delivers what is to be sent.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, lit};
use highwater_engine::model::alert::{NotificationKind, Severity, notification_schema};
use highwater_engine::model::wide::timestamp_type;
use highwater_engine::sink::Notifications;
use highwater_operators::alert::notification::{Dispatch, Mute};
use highwater_operators::alert::rate_limit::Limit;
use highwater_operators::alert::timeline::{Clock, Horizon};

use super::alerts::{Alert, quoted};
use super::ir::{Emit, Node, NodeKind, PlannedOption, StateEntry};
use super::job::Planner;
use super::lower::duration;
use super::options::Taken;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::sql::{Name, SinkFrom, SinkStatement, Statement};

/// The options of a sink that say when it is told; the others are the connector's.
const OPTIONS: [&str; 9] = [
    "min_severity",
    "send",
    "cooldown",
    "group_wait",
    "group_interval",
    "quiet_hours",
    "rate_limit",
    "mutes",
    "confirmations",
];

impl Planner<'_> {
    /// Plans what every sink is to tell of an alert; once.
    pub(super) fn tell_alerts(&mut self) {
        if self.alerts.is_empty() || std::mem::replace(&mut self.alerts_told, true) {
            return;
        }
        let job = self.job;
        let mut wishes = Vec::new();
        for statement in &job.statements {
            let Statement::Sink(sink) = statement else { continue };
            let Some((alert, delivers)) = self.alert_of(sink) else { continue };
            match self.tell(sink, alert, delivers) {
                Ok(wish) => wishes.push(wish),
                Err(mistake) => {
                    self.blame(mistake);
                    self.context.add_broken(&sink.name.text);
                }
            }
        }
        match self.overall_limit() {
            Ok(None) => {}
            Ok(Some(limit)) => self.limit_all(&mut wishes, limit),
            Err(mistake) => self.mistakes.push(mistake),
        }
        for Wish { name, node, state, options } in wishes {
            let view = self.keep_node(&name, node, state);
            self.views[view].of_sink = true;
            self.told.insert(name.text, Told { view, options });
        }
    }

    /// `SET alerts.rate_limit = '100 per hour'`
    fn overall_limit(&self) -> Result<Option<Limit>, Diagnostic> {
        let mut limit = None;
        for statement in &self.job.statements {
            let Statement::Set(set) = statement else { continue };
            if set.name.text == OVERALL_LIMIT {
                limit = Some(read_limit(OVERALL_LIMIT, &set.value, set.value_span)?);
            }
        }
        Ok(limit)
    }

    /// Sends the notifications of all sinks through one limit.
    fn limit_all(&mut self, wishes: &mut [Wish], limit: Limit) {
        let Some(first) = wishes.first() else { return };
        let name = Name { text: "all notifications".to_owned(), span: first.name.span };
        let by_block = self.alerts.iter().any(|alert| alert.planned.clock() == Clock::Block);
        let clock = if by_block { Clock::Block } else { Clock::Row };
        let inputs = wishes.iter().map(|wish| wish.node.clone()).collect();
        let union = Node { kind: NodeKind::Union { inputs }, schema: notification_schema() };
        let mut states: Vec<StateEntry> = wishes.iter_mut().flat_map(|wish| std::mem::take(&mut wish.state)).collect();
        states.push(limit_state("alerts/rate-limit"));
        let kind = NodeKind::RateLimit { id: "alerts/rate-limit".to_owned(), input: Box::new(union), clock, limit };
        let view = self.keep_node(&name, Node { kind, schema: notification_schema() }, states);
        self.views[view].of_sink = true;
        for wish in wishes {
            wish.node = of_sink(view, &wish.name.text);
        }
    }

    /// The alert whose notifications a sink shows, and whether it delivers them to people.
    fn alert_of(&self, sink: &SinkStatement) -> Option<(usize, bool)> {
        let SinkFrom::View(read) = &sink.from else { return None };
        let alert = self.alerts.iter().position(|alert| alert.planned.name == read.text)?;
        let connector = sink.options.iter().find(|option| option.name.text == "connector");
        let connector = connector.and_then(|option| match &option.value {
            crate::sql::OptionValue::Text(text) => Some(text.as_str()),
            crate::sql::OptionValue::Secret(_) => None,
        });
        let shows = self.catalog.notifications(&sink.name.text, connector.unwrap_or_default());
        (shows != Notifications::Never).then_some((alert, shows == Notifications::Only))
    }

    fn tell(&mut self, sink: &SinkStatement, alert: usize, delivers: bool) -> Result<Wish, Diagnostic> {
        let (mut request, _) = self.request(&sink.name, &sink.options, "connector")?;
        for option in OPTIONS {
            let Some(value) = self.catalog.overridden(&sink.name.text, option) else { continue };
            request.options.retain(|given| given.name != option);
            let (name_span, value_span) = (sink.name.span, sink.name.span);
            if !value.is_empty() {
                request.options.push(PlannedOption { name: option.to_owned(), value, name_span, value_span });
            }
        }
        let mut options = Taken::of("sink", &sink.name, request.options, &OPTIONS)?;
        let Alert { planned, changes } = &self.alerts[alert];
        let (planned, changes) = (planned.clone(), *changes);
        let mut dispatch = Dispatch { remember_ms: planned.lifecycle.reopen_within_ms, ..Dispatch::default() };
        let corrections = self.dispatch_options(&mut options, &mut dispatch)?;
        if let Some(clause) = sink.emit {
            match clause.emit {
                Emit::Changes => {}
                Emit::OnFinality => dispatch.horizon = Horizon::Final,
                Emit::OnWindowClose => {
                    let message = "EMIT ON WINDOW CLOSE belongs to the alert, not to its sink";
                    return Err(Diagnostic::new(Code::EmitImpossible, message, clause.span));
                }
            }
        }
        let limit = options.text("rate_limit").map(|(text, span)| read_limit("rate_limit", &text, span)).transpose()?;
        let input = self.changes_of(changes);
        let state = StateEntry {
            id: format!("{}/notifications", sink.name.text),
            operator: "notifications",
            key: "group_key".to_owned(),
            bound: match dispatch.cooldown_ms {
                0 => "the end of a story, and finality".to_owned(),
                cooldown_ms => format!("the end of a story, {} of cooldown, and finality", duration(cooldown_ms)),
            },
            unbounded: false,
        };
        let kind = NodeKind::Notifications {
            id: state.id.clone(),
            input: Box::new(input),
            sink: sink.name.text.clone(),
            alert: planned.clone(),
            dispatch: Arc::new(dispatch),
        };
        let mut node = Node { kind, schema: notification_schema() };
        let mut states = vec![state];
        if let Some(limit) = limit {
            let id = format!("{}/rate-limit", sink.name.text);
            states.push(limit_state(&id));
            let kind = NodeKind::RateLimit { id, input: Box::new(node), clock: planned.clock(), limit };
            node = Node { kind, schema: notification_schema() };
        }
        let mut rest = options.rest();
        // Lines of a file say what was taken back in any case.
        if !corrections && delivers {
            rest.push(PlannedOption {
                name: "corrections".to_owned(),
                value: "off".to_owned(),
                name_span: sink.name.span,
                value_span: sink.name.span,
            });
        }
        Ok(Wish { name: sink.name.clone(), node, state: states, options: rest })
    }

    /// What happens to the stories of an alert.
    fn changes_of(&self, view: usize) -> Node {
        let schema = self.views[view].schema.clone();
        let columns = (0..schema.fields().len()).collect();
        let input = Node { kind: NodeKind::View { view, columns }, schema: schema.clone() };
        let change =
            schema.index_of(highwater_operators::alert::CHANGE).expect("the changes of an alert say what happened");
        let column = Column::new(schema.field(change).name(), change);
        let predicate = IsNotNullExpr::new(Arc::new(column));
        Node { kind: NodeKind::Filter { input: Box::new(input), predicate: Arc::new(predicate) }, schema }
    }

    /// Reads the options; gives whether what was told is corrected when a reorg takes it back.
    fn dispatch_options(&self, options: &mut Taken, dispatch: &mut Dispatch) -> Result<bool, Diagnostic> {
        if let Some((text, span)) = options.text("min_severity") {
            let message = "option \"min_severity\" is 'low', 'medium', 'high' or 'critical'";
            dispatch.min_severity =
                Severity::parse(&text).ok_or_else(|| Diagnostic::new(Code::BadOption, message, span))?;
        }
        let mut corrections = true;
        if let Some((text, span)) = options.text("send") {
            (dispatch.kinds, corrections) = read_kinds(&text, span)?;
        }
        let ms = |read: Option<(i64, Span)>| read.map_or(0, |(ms, _)| ms);
        dispatch.cooldown_ms = ms(options.duration_ms("cooldown")?);
        dispatch.group_wait_ms = ms(options.duration_ms("group_wait")?);
        dispatch.group_interval_ms = ms(options.duration_ms("group_interval")?);
        if let Some((text, span)) = options.text("quiet_hours") {
            dispatch.quiet_hours = Some(read_hours(&text, span)?);
        }
        if let Some((table, span)) = options.text("mutes") {
            dispatch.mutes = self.read_mutes(&table, span)?;
        }
        if let Some((text, span)) = options.text("confirmations") {
            dispatch.horizon = Horizon::Confirmed(read_confirmations(&text, span)?);
        }
        Ok(corrections)
    }

    /// The rows of a reference table `(group_key TEXT, muted_from TIMESTAMP, muted_until TIMESTAMP)`, the times optional.
    fn read_mutes(&self, table: &str, span: Span) -> Result<Vec<Mute>, Diagnostic> {
        self.context.refuse_reloaded(table, span)?;
        let Some(rows) = self.context.reference(table) else {
            let message = format!("reference table \"{table}\" does not exist");
            let hint = "CREATE TABLE mutes (group_key TEXT, muted_from TIMESTAMP, muted_until TIMESTAMP) WITH (…)";
            return Err(Diagnostic::new(Code::UnknownTable, message, span).with_hint(hint));
        };
        read_mutes(rows).map_err(|message| Diagnostic::new(Code::BadOption, message, span))
    }

    /// Puts `deliveries` in scope.
    pub(super) fn offer_deliveries(&mut self) {
        if self.told.is_empty() || self.context.schema_of("deliveries").is_some() {
            return;
        }
        let each = self.told.keys().map(|sink| format!("SELECT * FROM {}", quoted(sink)));
        let query = each.collect::<Vec<_>>().join(" UNION ALL ");
        self.keep_of_all("deliveries", &query);
        if let Some(index) = self.view_index("deliveries") {
            self.views[index].of_sink = true;
        }
    }
}

/// The setting of a limit over all sinks.
pub(super) const OVERALL_LIMIT: &str = "alerts.rate_limit";

/// What a sink wants to tell.
struct Wish {
    name: Name,
    node: Node,
    state: Vec<StateEntry>,
    options: Vec<PlannedOption>,
}

fn limit_state(id: &str) -> StateEntry {
    StateEntry {
        id: id.to_owned(),
        operator: "rate limit",
        key: "none".to_owned(),
        bound: "one time, and rows not final".to_owned(),
        unbounded: false,
    }
}

/// The notifications of one sink among all.
fn of_sink(view: usize, sink: &str) -> Node {
    let schema = notification_schema();
    let input =
        Node { kind: NodeKind::View { view, columns: (0..schema.fields().len()).collect() }, schema: schema.clone() };
    let column = schema.index_of("sink").expect("a notification has a sink");
    let is_it = BinaryExpr::new(Arc::new(Column::new("sink", column)), Operator::Eq, lit(sink));
    Node { kind: NodeKind::Filter { input: Box::new(input), predicate: Arc::new(is_it) }, schema }
}

/// What a sink tells of an alert.
pub(super) struct Told {
    /// The view of its notifications.
    pub(super) view: usize,
    /// The options of its connector.
    pub(super) options: Vec<PlannedOption>,
}

/// `fire,escalate,update,resolve,retract`: the kinds, and whether corrections are told.
fn read_kinds(text: &str, span: Span) -> Result<(Vec<NotificationKind>, bool), Diagnostic> {
    let mut kinds = Vec::new();
    let mut corrections = false;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match (NotificationKind::parse(word), word) {
            (Some(kind), _) => kinds.push(kind),
            (None, "retract") => corrections = true,
            _ => {
                let message = format!("option \"send\" knows no {word:?}");
                return Err(Diagnostic::new(Code::BadOption, message, span)
                    .with_hint("the words are fire, escalate, update, resolve and retract, with commas between"));
            }
        }
    }
    Ok((kinds, corrections))
}

/// Blocks after which Ethereum's beacon chain has justified a block, an epoch: what nodes call safe.
const SAFE_BLOCKS: u32 = 32;

/// A number of blocks, or `safe`.
fn read_confirmations(text: &str, span: Span) -> Result<u32, Diagnostic> {
    let text = text.trim();
    let blocks = if text.eq_ignore_ascii_case("safe") { Some(SAFE_BLOCKS) } else { text.parse().ok() };
    let message = "option \"confirmations\" is not a number of blocks above 0, or 'safe'";
    blocks.filter(|blocks| *blocks > 0).ok_or_else(|| Diagnostic::new(Code::BadOption, message, span))
}

/// `22:00-07:00`, UTC, as milliseconds of the day.
fn read_hours(text: &str, span: Span) -> Result<(i64, i64), Diagnostic> {
    let time = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..24).contains(&hours) && (0..60).contains(&minutes)).then_some((hours * 60 + minutes) * 60_000)
    };
    let hours = text.split_once('-').and_then(|(from, until)| Some((time(from)?, time(until)?)));
    let message = "option \"quiet_hours\" is not two times of the day (UTC) such as '22:00-07:00'";
    hours.filter(|(from, until)| from != until).ok_or_else(|| Diagnostic::new(Code::BadOption, message, span))
}

/// `20 per minute`, `100 per 2 hours`.
fn read_limit(option: &str, text: &str, span: Span) -> Result<Limit, Diagnostic> {
    let read = || {
        let (count, period) = text.split_once(" per ")?;
        let count = count.trim().parse().ok().filter(|count| *count > 0)?;
        let period = period.trim();
        let period = if period.starts_with(|first: char| first.is_ascii_digit()) {
            period.to_owned()
        } else {
            format!("1 {period}")
        };
        let period = highwater_engine::options::parse_duration(&period)?;
        let period_ms = i64::try_from(period.as_millis()).ok().filter(|ms| *ms > 0)?;
        Some(Limit { count, period_ms })
    };
    let message = format!("option \"{option}\" is not a number per time such as '20 per minute'");
    read().ok_or_else(|| Diagnostic::new(Code::BadOption, message, span))
}

fn read_mutes(rows: &RecordBatch) -> Result<Vec<Mute>, String> {
    let column = |name: &str, wanted: &DataType| match rows.column_by_name(name) {
        None => Ok(None),
        Some(column) => match cast(column, wanted) {
            Ok(column) => Ok(Some(column)),
            Err(_) => Err(format!("column \"{name}\" of the mutes has the wrong type")),
        },
    };
    let groups = column("group_key", &DataType::Utf8)?.ok_or("the table of mutes has no column \"group_key\"")?;
    let (from, until) = (column("muted_from", &timestamp_type())?, column("muted_until", &timestamp_type())?);
    let time = |column: &Option<ArrayRef>, row: usize| {
        let times = column.as_ref()?.as_primitive::<TimestampMillisecondType>();
        times.is_valid(row).then(|| times.value(row))
    };
    let groups = groups.as_string::<i32>();
    let mute = |row: usize| Mute {
        group: groups.is_valid(row).then(|| groups.value(row).to_owned()),
        from_ms: time(&from, row),
        until_ms: time(&until, row),
    };
    Ok((0..rows.num_rows()).map(mute).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { start: 0, end: 1 };

    #[test]
    fn options_are_read() {
        assert_eq!(read_hours("22:00-07:30", SPAN).unwrap(), (79_200_000, 27_000_000));
        assert!(read_hours("22-7", SPAN).is_err());
        assert!(read_hours("25:00-07:00", SPAN).is_err());
        assert_eq!(read_limit("x", "20 per minute", SPAN).unwrap(), Limit { count: 20, period_ms: 60_000 });
        assert_eq!(read_limit("x", "100 per 2 hours", SPAN).unwrap(), Limit { count: 100, period_ms: 7_200_000 });
        assert!(read_limit("x", "0 per minute", SPAN).is_err());
        let (kinds, corrections) = read_kinds("fire, resolve", SPAN).unwrap();
        assert_eq!((kinds, corrections), (vec![NotificationKind::Fire, NotificationKind::Resolve], false));
        assert!(read_kinds("fire,retract", SPAN).unwrap().1);
        assert!(read_kinds("fyre", SPAN).is_err());
        assert_eq!(read_confirmations("safe", SPAN).unwrap(), 32);
        assert_eq!(read_confirmations("3", SPAN).unwrap(), 3);
        assert!(read_confirmations("0", SPAN).is_err());
    }
}
