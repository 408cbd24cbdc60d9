//! Personal data: policies, contacts that are forgotten, and the rows that go with either.
//!
//! Loads and these transactions order themselves by the tenant's row: a change raises `mapping_version` under its lock, and
//! a load that was read before finds another version than its own and is rolled back.

pub(super) mod forget;
pub(super) mod policy;
pub(super) mod strip;
pub(super) mod withhold;

pub use self::forget::{ContactRows, count_contact_rows, forget};
pub use self::policy::{PolicyChanged, record_policy_applied, set_policy};
pub use self::strip::{strip, strip_rejected};
pub use self::withhold::{Withheld, WithheldRows, withhold};
