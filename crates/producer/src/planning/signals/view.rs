//! The statements of the signals on a view. They name no message column, so that PostgreSQL drops the joins that aggregate
//! messages. A view can show a conversation more than once: the row that counts is the row that the worker extracts.

use tidemark_shared::selection::NameOf;
use tidemark_source::view::ViewShape;

/// As `conversations.sql`, with all timestamps of the view, including those of satisfaction answers; and with the names that
/// the conversations show, if they are wanted.
pub(super) fn conversations(shape: &ViewShape, with_names: bool) -> String {
    let shown = if with_names { shape.names() } else { Vec::new() };
    let mut statement = include_str!("view.sql")
        .replace("{digest}", &shape.digest())
        .replace("{changed_at}", &shape.changed_at())
        .replace("{newest_first}", &shape.newest_first())
        .replace("{view}", &shape.relation());
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    for of in NameOf::ALL {
        let kind = of.as_str();
        let (id, text, hash) = match shown.iter().find(|name| name.of == of) {
            Some(name) => (name.id.as_str(), name.texts.as_str(), name.hash.as_str()),
            None => ("NULL", "NULL::text[]", "NULL::bigint"),
        };
        statement = statement.replace(&format!("{{{kind}_hash}}"), hash);
        ids.push(format!("WHEN '{kind}' THEN {id}::bigint"));
        texts.push(format!("WHEN '{kind}' THEN {text}"));
    }
    statement
        .replace("{ids}", &ids.join(" "))
        .replace("{texts}", &texts.join(" "))
}

/// $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these. A conversation with several rows changed when
/// any of them did.
pub(super) fn changed(shape: &ViewShape) -> String {
    let changed_at = shape.changed_at();
    format!(
        "SELECT DISTINCT m.tenant_id, v.conversation_id::bigint AS id, -1 AS age, NULL::timestamp AS changed_at \
         FROM unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) \
         JOIN {} v ON v.inbox_id = m.inbox_id \
         WHERE (cardinality($1::integer[]) > 100 OR v.inbox_id = ANY($1::integer[])) \
          AND {changed_at} >= $4 AND {changed_at} >= m.since",
        shape.relation()
    )
}

/// $1 inboxes, $2 buckets, $3 width of a bucket, $4 inboxes that wait for a backfill, $5 excluded conversations
pub(super) fn digests_in_buckets(shape: &ViewShape) -> String {
    format!(
        "SELECT c.id, c.digest FROM unnest($2::bigint[]) AS b (bucket) CROSS JOIN LATERAL ( \
             SELECT DISTINCT ON (v.conversation_id) v.conversation_id::bigint AS id, {} AS digest FROM {} v \
             WHERE v.conversation_id BETWEEN b.bucket * $3 AND b.bucket * $3 + $3 - 1 AND v.inbox_id = ANY($1) \
              AND v.inbox_id <> ALL($4) AND v.conversation_id <> ALL($5::bigint[]) ORDER BY v.conversation_id, {}) c \
         ORDER BY c.id",
        shape.digest(),
        shape.relation(),
        shape.newest_first()
    )
}

/// $1 inboxes, $2 conversations in one stretch
pub(super) fn stretches(shape: &ViewShape) -> String {
    format!(
        "SELECT min(id) AS first, max(id) AS last, count(*) AS count FROM ( \
             SELECT id, (row_number() OVER (ORDER BY id) - 1) / $2 AS part FROM ( \
                 SELECT DISTINCT v.conversation_id::bigint AS id FROM {} v WHERE v.inbox_id = ANY($1)) d) c \
         GROUP BY part ORDER BY part",
        shape.relation()
    )
}
