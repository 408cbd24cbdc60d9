//! How a source is read: by its tables or by its view, with what it has of them.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tables::TableShape;
use crate::view::ViewShape;
use tidemark_runtime::finding::SourceFound;

/// What a source has of what is read.
#[derive(Debug)]
pub enum Shape {
    Tables(TableShape),
    View(ViewShape),
}

impl Shape {
    #[must_use]
    pub const fn view(&self) -> Option<&ViewShape> {
        match self {
            Self::Tables(_) => None,
            Self::View(view) => Some(view),
        }
    }

    /// The statement on the tables, as this source needs it, or the one on the view.
    pub fn statement<'a>(
        &self,
        on_tables: &'a str,
        on_view: impl FnOnce(&ViewShape) -> String,
    ) -> Cow<'a, str> {
        match self {
            Self::Tables(tables) => tables.statement(on_tables),
            Self::View(view) => Cow::Owned(on_view(view)),
        }
    }

    /// A statement that only reads tables. Must not be called in `view` mode.
    #[must_use]
    pub fn on_tables<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        self.statement(statement, |_| statement.to_owned())
    }

    /// See [`TableShape::row_age`]; a view shows no version of a row.
    #[must_use]
    pub fn row_age(&self, table: &str, alias: &str) -> String {
        match self {
            Self::Tables(tables) => tables.row_age(table, alias),
            Self::View(_) => "-1".to_owned(),
        }
    }

    /// See [`TableShape::is_indexed`]; a view shows no index.
    #[must_use]
    pub fn is_indexed(&self, table: &str, column: &str) -> bool {
        match self {
            Self::Tables(tables) => tables.is_indexed(table, column),
            Self::View(_) => false,
        }
    }

    /// Warnings for a run and a check-up: what is missing and counts as empty.
    #[must_use]
    pub fn warnings(&self) -> Vec<SourceFound> {
        match self {
            Self::Tables(tables) => tables.warnings(),
            Self::View(view) => view.warnings(),
        }
    }

    /// What is missing of what plans do not compare by digests or names. When it appears, all rows have to be read again.
    #[must_use]
    pub fn absent_beyond_digests(&self) -> Vec<String> {
        match self {
            Self::Tables(tables) => tables.absent_beyond_digests(),
            Self::View(view) => view.absent_beyond_digests(),
        }
    }
}

/// How long a shape is taken as known. The layout does not show that an index was made or dropped, and statements depend on some.
const KNOWN_FOR: Duration = Duration::from_mins(1);

/// The last shape that was looked up.
#[derive(Debug, Default)]
pub(crate) struct KnownShape(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    shape: Arc<Shape>,
    /// The layout of its tables: see [`super::SourceTx::layout`].
    layout: i64,
    looked_up_at: Instant,
}

impl KnownShape {
    /// The shape, unless its tables have another layout by now or it was looked up too long ago.
    pub fn get(&self, layout: i64, now: Instant) -> Option<Arc<Shape>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current =
            |known: &&Known| known.layout == layout && now.duration_since(known.looked_up_at) < KNOWN_FOR;
        known
            .as_ref()
            .filter(is_current)
            .map(|known| Arc::clone(&known.shape))
    }

    /// The last shape, which may be out of date.
    pub fn last(&self) -> Option<Arc<Shape>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| Arc::clone(&known.shape))
    }

    pub fn set(&self, layout: i64, shape: Arc<Shape>, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            shape,
            layout,
            looked_up_at: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_known_for_a_minute_and_for_its_layout_only() {
        let known = KnownShape::default();
        let now = Instant::now();
        known.set(7, Arc::new(Shape::Tables(TableShape::default())), now);
        let after = |layout, seconds| known.get(layout, now + Duration::from_secs(seconds));
        assert!(after(7, 59).is_some() && after(8, 0).is_none());
        assert!(after(7, 60).is_none() && known.last().is_some());
    }
}
