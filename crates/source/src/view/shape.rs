//! The shape of a view: the columns that it has, and the SQL expressions over them.

use super::columns::{CHANGE_TIMES, COLUMNS, Column, NAMES, Part, first_version, hashed};
use crate::digest::{HashedColumn, digest_of, rules_digest, texts_digest};
use tidemark_postgres::ident::RelationName;
use tidemark_runtime::finding::{Relation, SourceFound};
use tidemark_shared::selection::NameOf;

/// The owner of a shared name that the view shows, as expressions over its row `v`.
#[derive(Debug)]
pub struct ShownName {
    pub of: NameOf,
    /// The column of its id.
    pub id: String,
    /// An array of its texts. NULL for a text that the view lacks.
    pub texts: String,
    /// A `bigint` over the id and the texts; NULL without an id.
    pub hash: String,
}

/// A view and the columns that it has. Expressions use the alias `v`, which every statement gives to the view.
#[derive(Debug)]
pub struct ViewShape {
    pub(super) name: RelationName,
    /// For each of [`COLUMNS`], whether the view has it.
    pub(super) present: [bool; COLUMNS.len()],
}

impl ViewShape {
    /// The view's name as SQL text.
    #[must_use]
    pub fn relation(&self) -> String {
        self.name.to_string()
    }

    /// A select list of all columns of a view under their own names; NULL for a column that the view lacks.
    #[must_use]
    pub fn select_list(&self) -> String {
        let expressions: Vec<String> = COLUMNS
            .iter()
            .zip(self.present)
            .map(|(Column { name, kind, .. }, present)| match present {
                true => format!("{} AS {name}", kind.read_expression(&format!("v.{name}"))),
                // a view without a required column is refused
                false => format!("NULL::{} AS {name}", kind.read_type()),
            })
            .collect();
        expressions.join(", ")
    }

    /// A `bigint` over the conversation's own columns, without shared names and messages: see [`crate::digest`].
    #[must_use]
    pub fn digest(&self) -> String {
        let columns: Vec<HashedColumn> = self
            .present()
            .filter(|column| column.part == Part::Conversation)
            .map(hashed)
            .collect();
        digest_of("0", &columns)
    }

    /// A `bigint` over the columns that [`Self::digest`] leaves out: shared names and messages. It reads them from `r`, a
    /// sub-select of [`Self::select_list`], so that the view computes each column once. `$3` is the tenant's time zone and
    /// policy.
    #[must_use]
    pub fn related_digest(&self) -> String {
        let texts = self
            .present()
            .filter(|column| column.part != Part::Conversation)
            .map(|column| format!("r.{}", column.name));
        let related = texts_digest(texts, &rules_digest());
        format!("hashint8extended(r.conversation_id, {related})")
    }

    /// The shared names that the view shows.
    #[must_use]
    pub fn names(&self) -> Vec<ShownName> {
        let shown = NAMES
            .iter()
            .filter(|(_, id, texts)| self.has(id) && texts.iter().any(|text| self.has(text)));
        shown
            .map(|&(of, id, texts)| {
                let id = format!("v.{id}");
                let present = texts.iter().filter(|text| self.has(text));
                let hashed = present.map(|text| format!("v.{text}"));
                let hash = texts_digest(hashed, &format!("hashint8extended({id}::bigint, 0)"));
                let texts: Vec<String> = texts
                    .iter()
                    .map(|text| match self.has(text) {
                        true => format!("v.{text}::text"),
                        false => "NULL::text".to_owned(),
                    })
                    .collect();
                let texts = format!("ARRAY[{}]", texts.join(", "));
                ShownName { of, id, texts, hash }
            })
            .collect()
    }

    /// The latest of [`Self::change_times`].
    #[must_use]
    pub fn changed_at(&self) -> String {
        format!("greatest({})", self.change_times())
    }

    /// The list of times that show a change.
    #[must_use]
    pub fn change_times(&self) -> String {
        let times: Vec<String> = self
            .present()
            .filter(|column| CHANGE_TIMES.contains(&column.name))
            .map(|column| column.kind.read_expression(&format!("v.{}", column.name)))
            .collect();
        times.join(", ")
    }

    /// An ORDER BY list for the rows of one conversation. The first row is the one to use: the row of the newest satisfaction
    /// answer. The digest breaks ties, so that the choice is stable.
    #[must_use]
    pub fn newest_first(&self) -> String {
        let answers = self
            .present()
            .filter(|column| ["csat_created_at", "csat_response_id"].contains(&column.name));
        // in the order of COLUMNS the id comes before the time
        let mut order: Vec<String> = answers
            .map(|column| format!("v.{} DESC NULLS LAST", column.name))
            .collect();
        order.reverse();
        order.push(self.digest());
        order.join(", ")
    }

    /// Warnings for a run: columns that are NULL because the view lacks them.
    #[must_use]
    pub fn warnings(&self) -> Vec<SourceFound> {
        let further: Vec<&'static str> = COLUMNS
            .iter()
            .zip(self.present)
            .filter_map(|(column, present)| (!present && column.is_further()).then_some(column.name))
            .collect();
        COLUMNS
            .iter()
            .zip(self.present)
            .filter(|(column, present)| !present && !column.is_further())
            .map(|(column, _)| SourceFound::NoColumn {
                of: Relation::View(self.name.to_string()),
                column: column.name,
                first: first_version(column.name),
            })
            .chain((!further.is_empty()).then(|| SourceFound::NotShown {
                view: self.name.to_string(),
                columns: further,
            }))
            .collect()
    }

    /// Missing columns that the digest leaves out, but for names, which are compared.
    #[must_use]
    pub fn absent_beyond_digests(&self) -> Vec<String> {
        COLUMNS
            .iter()
            .zip(self.present)
            .filter(|(column, present)| !present && (column.part == Part::Messages || column.is_further()))
            .map(|(column, _)| column.name.to_owned())
            .collect()
    }

    /// A statement for `Source::inboxes` that lists the inboxes of the view's conversations.
    pub(crate) fn inboxes(&self) -> String {
        format!(
            "SELECT DISTINCT ON (v.inbox_id) v.inbox_id::integer, {}::text, {}::text FROM {} v \
             WHERE ($1::integer IS NULL OR {}::integer = $1) AND ($2::integer[] IS NULL OR v.inbox_id = ANY($2)) \
             ORDER BY v.inbox_id",
            self.or_null("inbox_name"),
            self.or_null("inbox_channel_type"),
            self.name,
            self.or_null("account_id"),
        )
    }

    /// The column, or NULL where the view lacks it.
    pub(super) fn or_null(&self, name: &str) -> String {
        match self.has(name) {
            true => format!("v.{name}"),
            false => "NULL".to_owned(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.present().any(|column| column.name == name)
    }

    fn present(&self) -> impl Iterator<Item = &'static Column> {
        COLUMNS
            .iter()
            .zip(self.present)
            .filter_map(|(column, present)| present.then_some(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(missing: &[&str]) -> ViewShape {
        ViewShape {
            name: "reports.final".parse().unwrap(),
            present: std::array::from_fn(|index| !missing.contains(&COLUMNS[index].name)),
        }
    }

    #[test]
    fn a_missing_column_is_null_and_in_no_other_expression() {
        let shape = without(&["priority", "csat_created_at", "conversation_custom_attributes"]);
        let list = shape.select_list();
        for column in [
            "NULL::integer AS priority",
            "NULL::timestamp AS csat_created_at",
            "NULL::text AS conversation_custom_attributes",
            "v.status::integer AS status",
            "to_jsonb(v.message_compiled)::text AS message_compiled",
        ] {
            assert!(list.contains(column), "{column} not in {list}");
        }
        for expression in [list, shape.digest(), shape.changed_at(), shape.newest_first()] {
            assert!(!expression.contains("v.priority") && !expression.contains("v.csat_created_at"));
        }
        assert_eq!(shape.warnings().len(), 3);
        let warning = &shape.warnings()[0].to_string();
        assert!(warning.starts_with(r#"view "reports"."final" has no column priority: it is NULL"#));
        assert!(warning.ends_with("; it comes with Chatwoot 2.17.0"));
        assert!(without(&[]).warnings().is_empty());
    }

    #[test]
    fn expressions_over_every_conversation_use_no_column_that_aggregates_messages() {
        let shape = without(&[]);
        for expression in [shape.digest(), shape.changed_at(), shape.newest_first()] {
            for column in ["message_compiled", "client_sender_id", "client_phone"] {
                assert!(!expression.contains(column), "{column} in {expression}");
            }
        }
        assert!(
            shape
                .newest_first()
                .starts_with("v.csat_created_at DESC NULLS LAST, v.csat_response_id DESC NULLS LAST, ")
        );
    }
}
