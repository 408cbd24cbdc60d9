//! Digests of what a target's row is made of, computed by the source itself: of the conversation's own row, and of all
//! that belongs to it elsewhere.
//!
//! Nothing on a conversation tells that it was deleted, moved into or out of an inbox, given another contact, or changed
//! with its timestamps left alone or set back. So each row of the target keeps the digest that the source had for it, and
//! every plan compares sums of digests: whatever differs is read again.
//!
//! A source that is read through a view has another digest, over what the view shows: see
//! [`ViewShape::digest`](super::view::ViewShape::digest). After a switch of mode every row is read once more.

/// How PostgreSQL hashes a column. The functions are its own, which are fast; another major version of the source may
/// compute others, and then every row is read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashed {
    Int4,
    Int8,
    Text,
    Json,
    Time,
}

impl Hashed {
    const fn function(self) -> &'static str {
        match self {
            Self::Int4 => "hashint4extended",
            Self::Int8 => "hashint8extended",
            Self::Text => "hashtextextended",
            Self::Json => "jsonb_hash_extended",
            Self::Time => "timestamp_hash_extended",
        }
    }
}

/// A column of a digest.
#[derive(Debug, Clone)]
pub(super) struct HashedColumn {
    kind: Hashed,
    expression: String,
    /// Is hashed for NULL.
    stand_in: &'static str,
    /// Whether a NULL must be told from the stand-in: the column takes both, and they make different rows.
    is_ambiguous: bool,
}

impl HashedColumn {
    pub(super) fn new(kind: Hashed, expression: impl Into<String>) -> Self {
        Self {
            kind,
            expression: expression.into(),
            stand_in: match kind {
                Hashed::Int4 | Hashed::Int8 => "-1",
                Hashed::Text => "''",
                Hashed::Json => "'null'",
                Hashed::Time => "'-infinity'",
            },
            is_ambiguous: true,
        }
    }

    /// The column is never NULL, or its NULL makes the same row as the stand-in.
    pub(super) fn unambiguous(mut self) -> Self {
        self.is_ambiguous = false;
        self
    }

    /// A text that may be empty; a control character stands in for NULL.
    fn text(expression: &str) -> Self {
        Self {
            stand_in: r"E'\x01'",
            ..Self::new(Hashed::Text, format!("{expression}::text"))
        }
    }

    fn hash(&self, seed: &str, tells_apart: bool) -> String {
        let Self {
            kind,
            expression,
            stand_in,
            is_ambiguous,
        } = self;
        let function = kind.function();
        if *is_ambiguous && tells_apart {
            let mark = format!("CASE WHEN {expression} = {stand_in} THEN 1 ELSE 0 END");
            format!("{function}(coalesce({expression}, {stand_in}), {seed} # {mark})")
        } else {
            format!("{function}(coalesce({expression}, {stand_in}), {seed})")
        }
    }
}

/// The hash of all these columns, each seeded with the one before it; the first with `innermost`. Never NULL.
///
/// Where a column really has the value that stands in for NULL, its seed is marked. That is rare, so one cheap condition over
/// the whole row decides whether the columns are looked at one by one.
pub(super) fn digest_of(innermost: &str, columns: &[HashedColumn]) -> String {
    let nested = |tells_apart: bool| {
        columns.iter().fold(innermost.to_owned(), |seed, column| {
            column.hash(&seed, tells_apart)
        })
    };
    let ambiguous = |kinds: &[Hashed]| -> Vec<&HashedColumn> {
        let of_kinds = columns.iter().filter(|column| kinds.contains(&column.kind));
        of_kinds.filter(|column| column.is_ambiguous).collect()
    };
    let least = |columns: &[&HashedColumn]| {
        let list: Vec<&str> = columns.iter().map(|column| column.expression.as_str()).collect();
        format!("least({})", list.join(", "))
    };
    let mut conditions = Vec::new();
    for kind in [Hashed::Int4, Hashed::Int8] {
        let columns = ambiguous(&[kind]);
        if !columns.is_empty() {
            conditions.push(format!("{} < 0", least(&columns)));
        }
    }
    let times = ambiguous(&[Hashed::Time]);
    if !times.is_empty() {
        conditions.push(format!("{} = '-infinity'", least(&times)));
    }
    for column in ambiguous(&[Hashed::Text, Hashed::Json]) {
        conditions.push(format!("{} = {}", column.expression, column.stand_in));
    }
    if conditions.is_empty() {
        return nested(false);
    }
    format!(
        "CASE WHEN {} THEN {} ELSE {} END",
        conditions.join(" OR "),
        nested(true),
        nested(false)
    )
}

/// A `bigint` expression over `conversations c`: its own row.
#[must_use]
pub fn conversation_digest() -> String {
    let ambiguous = HashedColumn::new;
    let plain = |kind, column| HashedColumn::new(kind, column).unambiguous();
    let columns = [
        ambiguous(Hashed::Time, "c.agent_last_seen_at"),
        ambiguous(Hashed::Time, "c.contact_last_seen_at"),
        ambiguous(Hashed::Time, "c.snoozed_until"),
        ambiguous(Hashed::Time, "c.waiting_since"),
        ambiguous(Hashed::Time, "c.first_reply_created_at"),
        ambiguous(Hashed::Time, "c.last_activity_at"),
        plain(Hashed::Time, "c.updated_at"),
        plain(Hashed::Time, "c.created_at"),
        ambiguous(Hashed::Json, "c.custom_attributes"),
        // no labels either way
        plain(Hashed::Text, "c.cached_label_list"),
        plain(Hashed::Int4, "c.account_id"),
        plain(Hashed::Int4, "c.display_id"),
        ambiguous(Hashed::Int8, "c.campaign_id"),
        ambiguous(Hashed::Int8, "c.contact_id"),
        ambiguous(Hashed::Int8, "c.team_id"),
        ambiguous(Hashed::Int4, "c.assignee_id"),
        ambiguous(Hashed::Int4, "c.priority"),
        plain(Hashed::Int4, "c.status"),
        plain(Hashed::Int4, "c.inbox_id"),
    ];
    let uuid = "coalesce(uuid_hash_extended(c.uuid, 0), 1)";
    format!("hashint8extended(c.id, {})", digest_of(uuid, &columns))
}

/// When a conversation was last changed, as far as its own row tells; NULL times are skipped. One expression, so that one
/// index serves it.
pub const CHANGED_AT: &str = "greatest(updated_at, last_activity_at, waiting_since, first_reply_created_at, \
    contact_last_seen_at, agent_last_seen_at, assignee_last_seen_at)";

/// What tells the digests of one way to make rows from those of another: grows when rows of the same source come out
/// otherwise, so that verification takes those of before for stale.
const RULES: i64 = 1;

/// A `bigint` expression over what `conversations c` points to: its account `a`, inbox `i`, assignee `u`, team `t`, contact
/// `k` and newest satisfaction answer `s`, seeded with what else rows are made by (`$3`: the tenant's time zone, and its policy). With the [`message_digest`] of every
/// message added, modulo 2⁶⁴, it is what a target's row keeps as `related_digest`. Never NULL.
#[must_use]
pub fn related_digest() -> String {
    let texts = [
        "a.name",
        "i.name",
        "i.channel_type",
        "i.timezone",
        "u.name",
        "u.email",
        "t.name",
        "k.name",
        "k.email",
        "k.phone_number",
        "k.identifier",
        "s.feedback_message",
    ];
    let mut columns: Vec<HashedColumn> = texts.into_iter().map(HashedColumn::text).collect();
    columns.extend([
        HashedColumn::new(Hashed::Time, "s.created_at"),
        HashedColumn::new(Hashed::Int8, "s.rating"),
        HashedColumn::new(Hashed::Int8, "s.id"),
    ]);
    format!("hashint8extended(c.id, {})", digest_of(&rules_digest(), &columns))
}

/// A `bigint` expression over `messages m`, bound to the conversation, so that the sum over many tells where each belongs.
#[must_use]
pub fn message_digest() -> String {
    let columns = [
        HashedColumn::text("m.source_id"),
        // no text of JSON is a control character
        HashedColumn::text("m.sentiment").unambiguous(),
        HashedColumn::new(Hashed::Int4, "m.private::integer").unambiguous(),
        HashedColumn::new(Hashed::Int4, "m.status"),
        HashedColumn::new(Hashed::Int4, "m.content_type"),
        HashedColumn::new(Hashed::Int4, "m.message_type"),
        HashedColumn::new(Hashed::Time, "m.created_at"),
        HashedColumn::new(Hashed::Int8, "m.sender_id"),
        HashedColumn::text("m.sender_type"),
        HashedColumn::text("m.content"),
    ];
    let seed = digest_of("0", &columns);
    format!("hashint8extended(m.id, hashint8extended(m.conversation_id, {seed}))")
}

/// The innermost seed: what the tenant's rows are made by, `$3`, and the rules of this build.
pub(super) fn rules_digest() -> String {
    format!("hashtextextended($3::text, {RULES})")
}

/// The hash of texts, each seeded with the one before it; the first with `innermost`.
pub(super) fn texts_digest(texts: impl Iterator<Item = String>, innermost: &str) -> String {
    let columns: Vec<HashedColumn> = texts.map(|text| HashedColumn::text(&text)).collect();
    digest_of(innermost, &columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_that_has_a_stand_in_is_looked_at_column_by_column() {
        let columns = [
            HashedColumn::new(Hashed::Int4, "a"),
            HashedColumn::new(Hashed::Json, "b").unambiguous(),
            HashedColumn::new(Hashed::Time, "c"),
        ];
        let plain = "timestamp_hash_extended(coalesce(c, '-infinity'), \
                     jsonb_hash_extended(coalesce(b, 'null'), hashint4extended(coalesce(a, -1), 0)))";
        let exact = "timestamp_hash_extended(coalesce(c, '-infinity'), \
                     jsonb_hash_extended(coalesce(b, 'null'), \
                     hashint4extended(coalesce(a, -1), 0 # CASE WHEN a = -1 THEN 1 ELSE 0 END)) \
                     # CASE WHEN c = '-infinity' THEN 1 ELSE 0 END)";
        assert_eq!(
            digest_of("0", &columns),
            format!("CASE WHEN least(a) < 0 OR least(c) = '-infinity' THEN {exact} ELSE {plain} END")
        );
    }
}
