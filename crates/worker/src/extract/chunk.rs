//! Extracts one chunk.

use tidemark_runtime::telemetry::record_stage_total;
use tidemark_shared::chunk::ChunkSpec;
use tidemark_source::view::ViewShape;

use super::extractor::{ExtractError, Extracted, Extractor, KEYS_AT_ONCE};
use super::{tables, view};

impl Extractor<'_> {
    /// Extracts and transforms the chunk. Conversations that cannot be read or transformed are rejected.
    pub async fn run(mut self, spec: &ChunkSpec) -> Result<Extracted, ExtractError> {
        let view = match self.source.view() {
            None => None,
            // check the view again: it may have changed since the plan
            Some(_) => self.source.check_catalog(self.tx.connection()).await?,
        };
        let keys = match (spec, &view) {
            (ChunkSpec::Keys { ids }, _) => Ok(ids.clone()),
            (ChunkSpec::KeyRange { lo, hi }, None) => {
                tables::keys_in_range(self.tx.connection(), self.inboxes, *lo, *hi).await
            }
            (ChunkSpec::KeyRange { lo, hi }, Some(view)) => {
                view::keys_in_range(self.tx.connection(), view, self.inboxes, *lo, *hi).await
            }
        };
        let keys = keys.map_err(self.source.query_error("list the conversations of a range"))?;
        self.rejects.set_row_count(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            self.read_bisected(view.as_ref(), keys).await?;
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
            self.read_bisected(view.as_ref(), keys).await?;
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
    pub(super) async fn read_keys(
        &mut self,
        view: Option<&ViewShape>,
        keys: &[i64],
    ) -> Result<(), ExtractError> {
        match view {
            None => self.read_from_tables(keys).await,
            Some(view) => self.read_from_view(view, keys).await,
        }
    }
}
