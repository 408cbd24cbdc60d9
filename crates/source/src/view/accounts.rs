//! Accounts and inboxes, as a view shows them: only those with conversations.

use super::shape::ViewShape;

impl ViewShape {
    /// As `accounts/compare.sql`: only the inboxes of the accounts that none of the tenants has. `None` for a view without
    /// accounts.
    pub(crate) fn compare_inboxes(&self) -> Option<String> {
        self.has("account_id").then(|| {
            format!(
                "SELECT DISTINCT ON (v.inbox_id) 'inbox' AS kind, v.inbox_id::integer, v.account_id::integer, {}::text AS name, \
                        {}::text AS channel_type \
                 FROM {} v \
                 WHERE v.account_id = ANY($1::integer[]) AND v.inbox_id IS NOT NULL AND $3::boolean[] IS NOT NULL \
                   AND (cardinality($2::integer[]) > 100 OR v.inbox_id <> ALL($2::integer[])) \
                   AND NOT EXISTS (SELECT FROM unnest($2::integer[]) AS m (id) WHERE m.id = v.inbox_id) \
                 ORDER BY v.inbox_id",
                self.or_null("inbox_name"),
                self.or_null("inbox_channel_type"),
                self.relation(),
            )
        })
    }

    /// $1 inboxes
    pub(crate) fn absent_inboxes(&self) -> String {
        let view = self.relation();
        format!(
            "SELECT m.id FROM unnest($1::integer[]) AS m (id) \
             WHERE NOT EXISTS (SELECT FROM {view} v WHERE v.inbox_id = m.id) AND EXISTS (SELECT FROM {view}) ORDER BY 1"
        )
    }

    /// As `accounts/list.sql`.
    pub(crate) fn list_accounts(&self) -> String {
        let newest = match self.has("last_activity_at") {
            true => {
                "max(v.last_activity_at::timestamptz) \
                 FILTER (WHERE isfinite(v.last_activity_at) AND v.last_activity_at < '9999-01-01')"
            }
            false => "NULL::timestamptz",
        };
        format!(
            "SELECT {}::integer AS account_id, max({}::text) AS account_name, v.inbox_id::integer, \
                    max({}::text) AS inbox_name, max({}::text) AS channel_type, \
                    count(DISTINCT v.conversation_id) AS conversations, {newest} AS newest \
             FROM {} v WHERE v.inbox_id IS NOT NULL GROUP BY 1, 3 ORDER BY 1, 3",
            self.or_null("account_id"),
            self.or_null("account_name"),
            self.or_null("inbox_name"),
            self.or_null("inbox_channel_type"),
            self.relation(),
        )
    }
}
