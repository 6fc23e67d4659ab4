//! Joins of a stream with a reference table.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion_common::{DFSchema, JoinType, NullEquality, TableReference};
use datafusion_expr::{Expr, Join, LogicalPlan};

use super::super::explain::rows;
use super::super::facts::{ColumnFacts, Facts};
use super::super::ir::{JoinKind, Node, NodeKind};
use super::scalar::{Computed, column_of, keep_columns, project};
use super::{Lower, Lowered, Lowerer, filter_node};

/// The two sides of a join, told apart.
struct Sides<'p> {
    stream: &'p LogicalPlan,
    table: &'p LogicalPlan,
    rows: RecordBatch,
    kind: JoinKind,
    /// Pairs of key expressions: of the stream, of the table.
    keys: Vec<(&'p Expr, &'p Expr)>,
    /// Whether the table is written first.
    swapped: bool,
}

/// The table with its key columns.
struct Table {
    rows: RecordBatch,
    keys: Vec<usize>,
}

impl Lowerer<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Lower<Lowered> {
        if !self.recursive.is_empty() {
            return self.changing_join(join);
        }
        if let Some(sides) = self.lookup_sides(join)? {
            return self.lookup_join(join, &sides);
        }
        let Some(sides) = self.sides(join)? else { return self.changing_join(join) };
        let mut stream = self.lower(sides.stream)?;
        let (width, stream_schema) = (stream.width(), sides.stream.schema());
        let mut columns = keep_columns(&stream, 0..width);
        let mut input_keys = Vec::with_capacity(sides.keys.len());
        for (index, (key, _)) in sides.keys.iter().enumerate() {
            match column_of(key, stream_schema) {
                Some(column) => input_keys.push(column),
                None => {
                    let computed = self.computed(key, stream_schema, &stream.facts)?;
                    let field = computed.field.clone().with_name(format!("input_key_{index}"));
                    input_keys.push(columns.len());
                    columns.push(Computed { field, ..computed });
                }
            }
        }
        if columns.len() > width {
            stream = project(stream, columns);
        }
        let table = self.table_keys(&sides, &stream, &input_keys)?;
        if join.null_aware {
            stream = self.null_aware(stream, &table, &input_keys)?;
        }
        let bound_schema = joined_schema(&stream, stream_schema, &table.rows.schema(), sides.table.schema());
        let bound_schema = bound_schema.map_err(|error| self.place.diagnose(&error))?;
        let residual = join.filter.as_ref().map(|filter| self.physical(filter, &bound_schema)).transpose()?;
        let table_name = table_name(sides.table);
        let id = self.id("broadcast-join");
        let names: Vec<&str> = input_keys.iter().map(|key| stream.field(*key).name().as_str()).collect();
        let key = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let bound = format!("the {} of {table_name}", rows(table.rows.num_rows()));
        self.keep(&id, "broadcast-join", key, Some(bound), "join")?;
        let table_width = if has_table(sides.kind) { sides.table.schema().fields().len() } else { 0 };
        let shown = shown_columns(width, stream.schema().fields().len(), table_width, sides.swapped);
        let mut facts = joined_facts(&stream, &table.rows.schema(), sides.kind);
        if has_table(sides.kind) {
            facts.key = facts.key.filter(|_| unique_keys(&table));
        }
        let schema = output_schema(&stream, &table.rows.schema(), sides.kind);
        let kind = NodeKind::BroadcastJoin {
            input: Box::new(stream.node),
            table: table.rows,
            table_name,
            join: sides.kind,
            input_keys,
            table_keys: table.keys,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual,
        };
        Ok(renamed(Lowered { node: Node { kind, schema }, facts }, shown, &join.schema))
    }

    /// Which side is the stream and which the table.
    fn sides<'p>(&self, join: &'p Join) -> Lower<Option<Sides<'p>>> {
        use JoinType as J;
        let left = self.static_rows(&join.left)?;
        let right = self.static_rows(&join.right)?;
        let (kind, swapped) = match (join.join_type, &left, &right) {
            (J::Inner, _, Some(_)) => (JoinKind::Inner, false),
            (J::Inner, Some(_), None) => (JoinKind::Inner, true),
            (J::Left, _, Some(_)) => (JoinKind::Left, false),
            (J::Right, Some(_), _) => (JoinKind::Left, true),
            (J::LeftSemi, _, Some(_)) => (JoinKind::Semi, false),
            (J::RightSemi, Some(_), _) => (JoinKind::Semi, true),
            (J::LeftAnti, _, Some(_)) => (JoinKind::Anti, false),
            (J::RightAnti, Some(_), _) => (JoinKind::Anti, true),
            _ => return Ok(None),
        };
        let (stream, table, rows) =
            if swapped { (&join.right, &join.left, left) } else { (&join.left, &join.right, right) };
        let Some(rows) = rows else { return Ok(None) };
        if join.null_aware && rows.columns().iter().any(|column| column.null_count() > 0) {
            return Ok(None);
        }
        let keys = join.on.iter().map(|(left, right)| if swapped { (right, left) } else { (left, right) }).collect();
        Ok(Some(Sides { stream, table, rows, kind, keys, swapped }))
    }

    pub(super) fn join_place(&self) -> crate::diagnostic::Span {
        let lines = self.place.lines;
        ["join", "exists", "in"]
            .into_iter()
            .find_map(|word| lines.find_word(self.place.within, word))
            .unwrap_or_else(|| self.place.find("from"))
    }

    /// The table with computed keys behind its columns, in the types of the stream's keys.
    fn table_keys(&self, sides: &Sides<'_>, stream: &Lowered, input_keys: &[usize]) -> Lower<Table> {
        let schema = sides.table.schema();
        let mut fields: Vec<FieldRef> = sides.rows.schema().fields().iter().cloned().collect();
        let mut columns: Vec<ArrayRef> = sides.rows.columns().to_vec();
        let mut keys = Vec::with_capacity(input_keys.len());
        for (index, ((_, expr), input_key)) in sides.keys.iter().zip(input_keys).enumerate() {
            let wanted = stream.field(*input_key).data_type();
            let plain = column_of(expr, schema).filter(|column| columns[*column].data_type() == wanted);
            if let Some(column) = plain {
                keys.push(column);
                continue;
            }
            let key = self.static_column(&sides.rows, expr, schema)?;
            let key = arrow::compute::cast(&key, wanted).map_err(|error| self.place.diagnose(&error.into()))?;
            fields.push(Arc::new(Field::new(format!("table_key_{index}"), wanted.clone(), true)));
            keys.push(columns.len());
            columns.push(key);
        }
        if columns.is_empty() {
            let one = super::relation::one_row();
            let take = arrow::array::UInt32Array::from(vec![0; sides.rows.num_rows()]);
            let one = arrow::compute::take_record_batch(&one, &take).map_err(|error| self.internal(&error.into()))?;
            return Ok(Table { rows: one, keys });
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        Ok(Table { rows: rows.map_err(|error| self.internal(&error.into()))?, keys })
    }

    /// `x NOT IN (…)` is unknown for a NULL `x`, and for all `x` if the list has a NULL.
    fn null_aware(&self, stream: Lowered, table: &Table, input_keys: &[usize]) -> Lower<Lowered> {
        if table.rows.num_rows() == 0 {
            return Ok(stream);
        }
        let mut stream = stream;
        for key in input_keys {
            let field = stream.field(*key);
            if field.is_nullable() {
                let column = Arc::new(datafusion_physical_expr::expressions::Column::new(field.name(), *key));
                let known = Arc::new(datafusion_physical_expr::expressions::IsNotNullExpr::new(column));
                stream.node = filter_node(stream.node, known);
            }
        }
        Ok(stream)
    }
}

pub(super) fn has_table(kind: JoinKind) -> bool {
    matches!(kind, JoinKind::Inner | JoinKind::Left)
}

/// Where the columns of the logical join are in the operator's output, in logical order.
pub(super) fn shown_columns(width: usize, first: usize, table_width: usize, swapped: bool) -> Vec<usize> {
    let (stream, table) = (0..width, first..first + table_width);
    if swapped { table.chain(stream).collect() } else { stream.chain(table).collect() }
}

/// The shown columns, with names and nullability of the logical join.
pub(super) fn renamed(joined: Lowered, shown: Vec<usize>, schema: &DFSchema) -> Lowered {
    let same_width = shown.len() == joined.schema().fields().len();
    if shown.is_empty() || same_width && shown.iter().enumerate().all(|(index, column)| index == *column) {
        let facts = Facts { columns: joined.facts.columns[..shown.len()].to_vec(), ..joined.facts };
        return Lowered { node: joined.node, facts };
    }
    let columns = keep_columns(&joined, shown).into_iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| Computed { field: field.as_ref().clone(), ..column }).collect();
    project(joined, columns)
}

/// The names a join condition may use: the stream's columns, then the table's, as the operator has them.
pub(super) fn joined_schema(
    stream: &Lowered,
    stream_schema: &DFSchema,
    table: &SchemaRef,
    table_schema: &DFSchema,
) -> datafusion_common::Result<DFSchema> {
    let mut fields: Vec<(Option<TableReference>, FieldRef)> = Vec::new();
    for (side, schema) in [(stream.schema().clone(), stream_schema), (table.clone(), table_schema)] {
        let named = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        fields.extend(named);
        // Nobody names these; two of one name would be refused.
        for field in side.fields().iter().skip(schema.fields().len()) {
            let name = format!("{} {}", field.name(), fields.len());
            fields.push((None, Arc::new(field.as_ref().clone().with_name(name))));
        }
    }
    DFSchema::new_with_metadata(fields, Default::default())
}

pub(super) fn output_schema(stream: &Lowered, table: &SchemaRef, kind: JoinKind) -> SchemaRef {
    let mut fields: Vec<FieldRef> = stream.schema().fields().iter().cloned().collect();
    if has_table(kind) {
        let optional = kind == JoinKind::Left;
        fields.extend(table.fields().iter().map(|field| {
            let nullable = field.is_nullable() || optional;
            Arc::new(field.as_ref().clone().with_nullable(nullable))
        }));
    }
    Arc::new(Schema::new(fields))
}

/// What is known of the stream's rows stays true, whatever the table has.
pub(super) fn joined_facts(stream: &Lowered, table: &SchemaRef, kind: JoinKind) -> Facts {
    let mut facts = Facts { order: Vec::new(), ..stream.facts.clone() };
    facts.columns.resize(stream.schema().fields().len(), ColumnFacts::default());
    if has_table(kind) {
        let finite = ColumnFacts { finite: true, ..ColumnFacts::default() };
        facts.columns.extend(std::iter::repeat_n(finite, table.fields().len()));
    }
    facts
}

/// Whether a row of the stream meets at most one row of the table.
fn unique_keys(table: &Table) -> bool {
    let columns: Vec<ArrayRef> = table.keys.iter().map(|key| table.rows.column(*key).clone()).collect();
    if columns.is_empty() {
        return table.rows.num_rows() <= 1;
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns));
    let Ok(rows) = rows else { return false };
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// The reference table below, for people.
pub(super) fn table_name(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table().to_owned(),
        other => match other.inputs().first() {
            Some(input) => table_name(input),
            None => "VALUES".to_owned(),
        },
    }
}
