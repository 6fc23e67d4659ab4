//! How each call is computed, what it reads, and how far it sees.

use arrow::datatypes::SchemaRef;

use super::accumulator::{Accumulator, Which};
use super::cell::{Slot, SlotKind, ValueCodec};
use super::reach::Reach;
use super::spec::{Bound, Distance, Frame, OverCall, OverError, OverFunction, OverSpec, Units};

/// All calls of a spec.
pub(super) struct Plan {
    pub(super) slots: Vec<Slot>,
    /// The codec of each slot that is a value.
    pub(super) codecs: Vec<Option<ValueCodec>>,
    pub(super) calls: Vec<CallPlan>,
    /// The slot that RANGE distances are measured on; any if there are none.
    pub(super) axis: usize,
    /// States of the running calls before the first row of a partition.
    pub(super) initial: Vec<Accumulator>,
    /// Whether an answer depends on all rows before, so that states are kept.
    pub(super) runs: bool,
}

/// One call.
pub(super) struct CallPlan {
    pub(super) kind: Kind,
    /// What it reads; the first slot if nothing.
    pub(super) slot: usize,
    /// Whose codec turns answers into a column, where they are values of the argument.
    pub(super) codec: Option<usize>,
    /// What a row sees before it, and after it: the rows that must be looked at again when one changes.
    pub(super) behind: Reach,
    pub(super) ahead: Reach,
    /// What must be read before a row to compute it, given the state of all rows before that.
    pub(super) read_behind: Reach,
}

/// How a call is computed.
pub(super) enum Kind {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    /// Parts.
    Ntile(usize),
    /// The value so many rows before (after, if negative), or the slot of the default.
    Shift {
        rows: i64,
        ignore_nulls: bool,
        default: Option<usize>,
    },
    /// A function of the frame; `running` is the place among the states if rows only enter.
    Framed {
        frame: Frame,
        empty: Box<Accumulator>,
        running: Option<usize>,
    },
}

impl Plan {
    pub(super) fn new(spec: &OverSpec) -> Result<Plan, OverError> {
        let mut plan = Plan {
            slots: Vec::new(),
            codecs: Vec::new(),
            calls: Vec::new(),
            axis: 0,
            initial: Vec::new(),
            runs: false,
        };
        if let [(index, options)] = spec.sort.as_slice() {
            let is_measured = |bound| {
                matches!(
                    bound,
                    Bound::Preceding(Distance::Integer(_) | Distance::Float(_))
                        | Bound::Following(Distance::Integer(_) | Distance::Float(_))
                )
            };
            if spec.calls.iter().any(|call| is_measured(call.frame.start) || is_measured(call.frame.end)) {
                let kind = SlotKind::Axis { descending: options.descending };
                plan.axis = plan.slot(&spec.input, Slot { kind, column: Some(*index), filter: None })?;
            }
        }
        for call in &spec.calls {
            let planned = plan.call(spec, call)?;
            plan.runs |= matches!(planned.behind, Reach::Everything) && !matches!(planned.ahead, Reach::Everything);
            plan.calls.push(planned);
        }
        Ok(plan)
    }

    /// The place of a slot, which is added if it is new.
    fn slot(&mut self, input: &SchemaRef, slot: Slot) -> Result<usize, OverError> {
        if let Some(place) = self.slots.iter().position(|other| *other == slot) {
            return Ok(place);
        }
        let codec = match (slot.kind, slot.column) {
            (SlotKind::Value, Some(index)) => Some(ValueCodec::new(input.field(index).data_type())?),
            _ => None,
        };
        self.slots.push(slot);
        self.codecs.push(codec);
        Ok(self.slots.len() - 1)
    }

    fn call(&mut self, spec: &OverSpec, call: &OverCall) -> Result<CallPlan, OverError> {
        use OverFunction as F;
        let whole = |kind| Ok(numbered(kind, Reach::Everything));
        match call.function {
            F::RowNumber => Ok(numbered(Kind::RowNumber, Reach::Nothing)),
            F::Rank => Ok(numbered(Kind::Rank, Reach::Nothing)),
            F::DenseRank => Ok(numbered(Kind::DenseRank, Reach::Nothing)),
            F::PercentRank => whole(Kind::PercentRank),
            F::CumeDist => whole(Kind::CumeDist),
            F::Ntile(parts) => whole(Kind::Ntile(usize::try_from(parts).unwrap_or(usize::MAX))),
            F::Lag { offset } => self.shift(spec, call, offset),
            F::Lead { offset } => self.shift(spec, call, offset.saturating_neg()),
            _ => self.framed(spec, call),
        }
    }

    fn shift(&mut self, spec: &OverSpec, call: &OverCall, rows: i64) -> Result<CallPlan, OverError> {
        let value = |index: usize| Slot { kind: SlotKind::Value, column: Some(index), filter: None };
        let slot = self.slot(&spec.input, value(call.arguments[0]))?;
        let default = call.arguments.get(1).map(|index| self.slot(&spec.input, value(*index))).transpose()?;
        let count = usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX);
        let reach = match rows {
            0 => Reach::Nothing,
            _ if call.ignore_nulls => Reach::Present { slot, values: count },
            _ => Reach::Rows(count),
        };
        let (behind, ahead) = if rows > 0 { (reach, Reach::Nothing) } else { (Reach::Nothing, reach) };
        let kind = Kind::Shift { rows, ignore_nulls: call.ignore_nulls, default };
        Ok(CallPlan { kind, slot, codec: Some(slot), behind, ahead, read_behind: behind })
    }

    fn framed(&mut self, spec: &OverSpec, call: &OverCall) -> Result<CallPlan, OverError> {
        use OverFunction as F;
        let frame = match call.function {
            F::Ewma { .. } => Frame { units: Units::Rows, start: Bound::UnboundedPreceding, end: Bound::CurrentRow },
            _ => call.frame,
        };
        let kind = match call.function {
            F::Count | F::CountAll => SlotKind::Presence,
            F::Sum | F::Avg => SlotKind::Number,
            F::Ewma { .. } => SlotKind::Float,
            _ => SlotKind::Value,
        };
        let column = call.arguments.first().copied();
        let slot = self.slot(&spec.input, Slot { kind, column, filter: call.filter })?;
        let slides = frame.start != Bound::UnboundedPreceding;
        let empty = match call.function {
            F::Sum | F::Avg => Accumulator::sum(spec.argument(call)?, call.function == F::Avg),
            F::Min | F::Max => Accumulator::extreme(call.function == F::Max, slides),
            F::FirstValue => Accumulator::place(Which::First, call.ignore_nulls, slides),
            F::LastValue => Accumulator::place(Which::Last, call.ignore_nulls, slides),
            F::NthValue(place) => {
                Accumulator::place(Which::Nth(usize::try_from(place).unwrap_or(usize::MAX)), call.ignore_nulls, slides)
            }
            F::Ewma { alpha } => Accumulator::Ewma { alpha, value: None },
            _ => Accumulator::Count(0),
        };
        let running = (!slides).then_some(self.initial.len());
        if running.is_some() {
            self.initial.push(empty.clone());
        }
        let (behind, ahead) = (self.behind(&frame, frame.start), self.ahead(&frame));
        let read_behind = if slides { behind } else { self.behind(&frame, frame.end) };
        let codec = (kind == SlotKind::Value).then_some(slot);
        Ok(CallPlan {
            kind: Kind::Framed { frame, empty: Box::new(empty), running },
            slot,
            codec,
            behind,
            ahead,
            read_behind,
        })
    }

    /// How far before a row a bound of its frame can lie.
    fn behind(&self, frame: &Frame, bound: Bound) -> Reach {
        match bound {
            Bound::UnboundedPreceding => Reach::Everything,
            Bound::Preceding(distance) => self.reach(frame.units, distance),
            Bound::CurrentRow if frame.units != Units::Rows => Reach::Peers,
            // Groups are counted from that of the row itself.
            // A row without a place on the axis has its peers as its frame, wherever the bounds are.
            Bound::Following(_) if frame.units != Units::Rows => Reach::Peers,
            _ => Reach::Nothing,
        }
    }

    /// How far after a row its frame can end.
    fn ahead(&self, frame: &Frame) -> Reach {
        match frame.end {
            Bound::UnboundedFollowing => Reach::Everything,
            Bound::Following(distance) => self.reach(frame.units, distance),
            Bound::CurrentRow | Bound::Preceding(_) if frame.units != Units::Rows => Reach::Peers,
            _ => Reach::Nothing,
        }
    }

    fn reach(&self, units: Units, distance: Distance) -> Reach {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        match (units, distance) {
            (Units::Rows, Distance::Count(rows)) => Reach::Rows(count(rows)),
            (_, Distance::Count(groups)) => Reach::Groups(count(groups)),
            (_, distance) => Reach::Range { axis: self.axis, distance },
        }
    }
}

/// A call that only counts.
fn numbered(kind: Kind, ahead: Reach) -> CallPlan {
    CallPlan { kind, slot: 0, codec: None, behind: Reach::Everything, ahead, read_behind: Reach::Nothing }
}
