//! What planning asks of `conversations_analytics`: which conversations it holds, never what is in them.

pub(super) mod columns;
pub(super) mod digests;
pub(super) mod names;
pub(super) mod rows;
pub(super) mod transaction;

pub use self::columns::{changed_columns, not_null_columns};
pub use self::digests::{Bucket, buckets, digests_in_buckets, digests_of};
pub use self::names::{NameTexts, carry_others, live_with_senders};
pub use self::rows::{
    StoredRow, clients_of, count_in_inboxes, count_live, count_marked_by, find, is_empty, last_live,
    live_among, live_in_inboxes, open_rejects, read_by,
};
pub(crate) use self::transaction::begin_write;
pub use self::transaction::{begin, enter};
