//! The statements of the signals on a view. They name no message column, so that PostgreSQL drops the joins that aggregate
//! messages. A view can show a conversation more than once: the row that counts is the row that the worker extracts.

use tidemark_source::view::ViewShape;

/// As `conversations.sql`, with all timestamps of the view, including those of satisfaction answers.
pub(super) fn conversations(shape: &ViewShape) -> String {
    include_str!("view.sql")
        .replace("{digest}", &shape.digest())
        .replace("{changed_at}", &shape.changed_at())
        .replace("{newest_first}", &shape.newest_first())
        .replace("{view}", &shape.relation())
}

/// $1 inboxes, and for each: $2 its tenant, $3 since; $4 the earliest of these. A conversation with several rows changed when
/// any of them did.
pub(super) fn changed(shape: &ViewShape) -> String {
    let changed_at = shape.changed_at();
    format!(
        "SELECT DISTINCT m.tenant_id, v.conversation_id::bigint AS id, -1 AS age, NULL::timestamp AS changed_at \
         FROM unnest($1::integer[], $2::integer[], $3::timestamp[]) AS m (inbox_id, tenant_id, since) \
         JOIN {} v ON v.inbox_id = m.inbox_id WHERE {changed_at} >= $4 AND {changed_at} >= m.since",
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

/// All names in a tenant's rows of the view: a view does not show when a name was changed. When a view shows several names
/// for one id, the first in order is used. `None` for a view without names.
/// $1 inboxes, $2 the tenant of each
pub(crate) fn names(shape: &ViewShape) -> Option<String> {
    let parts: Vec<String> = shape
        .names()
        .into_iter()
        .map(|(of, id, texts)| {
            format!(
                "SELECT m.tenant_id, '{}'::text AS of, v.{id}::bigint AS id, {texts} AS texts \
                 FROM unnest($1::integer[], $2::integer[]) AS m (inbox_id, tenant_id) JOIN {} v ON v.inbox_id = m.inbox_id \
                 WHERE v.{id} IS NOT NULL GROUP BY 1, 2, 3, 4",
                of.as_str(),
                shape.relation()
            )
        })
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "SELECT DISTINCT ON (tenant_id, of, id) of, id, md5(texts::text), to_jsonb(texts), ARRAY[tenant_id] \
             FROM ({}) n ORDER BY tenant_id, of, id, texts",
            parts.join(" UNION ALL ")
        )
    })
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
