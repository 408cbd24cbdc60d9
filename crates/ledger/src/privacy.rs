//! Personal data: policies, forgotten contacts, and their rows.
//!
//! Loads and these transactions wait for each other at the tenant's row. A change raises `mapping_version` under that
//! lock. A load that was read before finds another version than its own and is rolled back.

pub(super) mod forget;
pub(super) mod policy;
mod removal;
pub(super) mod strip;
pub(super) mod withhold;

pub use self::forget::{ContactRows, count_contact_rows, forget};
pub use self::policy::{PolicyChanged, record_policy_applied, set_policy};
pub use self::strip::{strip, strip_rejected};
pub use self::withhold::{Withheld, WithheldRows, withhold};
