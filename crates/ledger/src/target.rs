//! Queries on `conversations_analytics`: which conversations it has. Their content is not read.

pub(super) mod columns;
pub(super) mod digests;
pub(super) mod names;
pub(super) mod rows;
pub(super) mod statistics;
pub(super) mod transaction;

pub use self::columns::{changed_columns, not_null_columns};
pub use self::digests::{Bucket, buckets, digests_in_buckets, digests_of};
pub use self::names::{NameTexts, list_live_with_senders, list_outdated_names};
pub use self::rows::{
    StoredRow, count_by_inbox, count_deleted_by, count_live, count_live_in_inboxes, find, find_last_live,
    is_empty, list_contact_digests, list_live, list_live_in_inboxes, list_not_newer, list_of_inboxes,
    list_open_rejects, list_with_other_client,
};
pub use self::statistics::{Analysis, analyze_after_first_run};
pub(crate) use self::transaction::begin_write;
pub use self::transaction::{begin, set_tenant};
