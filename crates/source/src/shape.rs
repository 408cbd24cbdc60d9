//! How a source is read: by its tables or by its view, with what it has of them.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

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

/// The last shape that was looked up, and the layout of the tables at that time: see [`super::SourceTx::layout`].
#[derive(Debug, Default)]
pub(crate) struct KnownShape(Mutex<Option<(i64, Arc<Shape>)>>);

impl KnownShape {
    pub fn get(&self, layout: i64) -> Option<Arc<Shape>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|(of, _)| *of == layout);
        known.map(|(_, shape)| Arc::clone(shape))
    }

    /// The last shape, whatever was changed since.
    pub fn last(&self) -> Option<Arc<Shape>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|(_, shape)| Arc::clone(shape))
    }

    pub fn set(&self, layout: i64, shape: Arc<Shape>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((layout, shape));
    }
}
