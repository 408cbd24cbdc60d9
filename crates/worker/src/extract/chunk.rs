//! Extracts one chunk.

use tidemark_runtime::telemetry::record_stage_total;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_source::Shape;

use super::extractor::{ExtractError, Extracted, Extractor, KEYS_AT_ONCE};
use super::{tables, view};

impl Extractor<'_> {
    /// Extracts and transforms the chunk. Conversations that cannot be read or transformed are rejected.
    pub async fn run(mut self, spec: &ChunkSpec) -> Result<Extracted, ExtractError> {
        // tables or view may have changed since the plan
        let shape = self.source.current_shape(self.tx).await?;
        let keys = match (spec, &*shape) {
            (ChunkSpec::Keys { ids }, _) => Ok(ids.clone()),
            (ChunkSpec::KeyRange { lo, hi }, Shape::Tables(_)) => {
                tables::keys_in_range(self.tx.connection(), self.inboxes, *lo, *hi).await
            }
            (ChunkSpec::KeyRange { lo, hi }, Shape::View(view)) => {
                view::keys_in_range(self.tx.connection(), view, self.inboxes, *lo, *hi).await
            }
        };
        let keys = keys.map_err(self.source.query_error("list the conversations of a range"))?;
        self.rejects.set_row_count(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            self.read_bisected(&shape, keys).await?;
        }
        self.extracted.found.sort_unstable();
        let found = &self.extracted.found;
        let reread: Vec<i64> = self
            .needs_client_phone
            .keys()
            .copied()
            .filter(|key| found.binary_search(key).is_err())
            .collect();
        for keys in reread.chunks(KEYS_AT_ONCE) {
            self.read_bisected(&shape, keys).await?;
        }
        self.flush().await?;
        record_stage_total("transform", self.transform_time);
        self.extracted.found.sort_unstable();
        debug_assert!(
            reread
                .iter()
                .all(|key| self.extracted.found.binary_search(key).is_ok()),
            "every client's phone is known now"
        );
        if matches!(spec, ChunkSpec::Keys { .. }) {
            let found = &self.extracted.found;
            let withheld = self.extracted.withheld_ids();
            self.extracted.gone = keys
                .into_iter()
                .filter(|key| found.binary_search(key).is_err() && !withheld.contains(key))
                .collect();
        }
        Ok(self.extracted)
    }

    /// Reads these conversations. After an error, those in `extracted.found` are sent or rejected, and the others are
    /// not.
    pub(super) async fn read_keys(&mut self, shape: &Shape, keys: &[i64]) -> Result<(), ExtractError> {
        match shape {
            Shape::Tables(_) => self.read_from_tables(shape, keys).await,
            Shape::View(view) => self.read_from_view(view, keys).await,
        }
    }
}
