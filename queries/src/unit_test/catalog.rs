//! What stands in for the world in a unit test.

use arrow::record_batch::RecordBatch;
use highwater_engine::source::TableSchema;
use highwater_operators::mev::RELATIONS;

use super::mock::Given;
use crate::plan::{Catalog, LoadError, LoadRequest, PlannedSetting, PlannedSink, PlannedView};

/// A catalog whose tables have the rows of a test.
pub(super) struct MockCatalog<'a> {
    /// Opens what the test does not give.
    pub(super) world: &'a mut dyn Catalog,
    pub(super) given: &'a Given,
}

impl Catalog for MockCatalog<'_> {
    fn setting(&mut self, setting: &PlannedSetting) -> Result<(), LoadError> {
        self.world.setting(setting)
    }

    /// Secrets are for the world outside, which a test does not touch.
    fn secret(&mut self, _: &LoadRequest) -> Result<String, LoadError> {
        Ok(String::new())
    }

    fn open_source(&mut self, request: &LoadRequest) -> Result<Vec<TableSchema>, LoadError> {
        let mut tables = self.world.open_source(request)?;
        // A relation that follows from tables can be given itself.
        for relation in RELATIONS {
            let name = format!("{}.{}", request.name, relation.name);
            if self.given.names().any(|given| *given == name) {
                tables.push(TableSchema { name: relation.name.to_owned(), schema: (relation.schema)() });
            }
        }
        Ok(tables)
    }

    fn chain_id(&self, source: &str) -> Option<u64> {
        self.world.chain_id(source)
    }

    fn load_table(&mut self, request: &LoadRequest) -> Result<RecordBatch, LoadError> {
        match self.given.first(&request.name) {
            Some(rows) => rows.of_table(request.schema.as_ref()).map_err(|error| LoadError::Failed(error.into())),
            None => self.world.load_table(request),
        }
    }

    fn check_sink(&mut self, _: &PlannedSink, _: &PlannedView) -> Result<(), LoadError> {
        Ok(())
    }
}
