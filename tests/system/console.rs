//! The web console: who may do what, what it shows, and what a person can do in a browser.

mod actions;
mod api;
mod browser;
mod bulk;
mod changes;
pub mod client;
mod dialogs;
mod journey;
mod lag;
mod look;
mod many;
mod resync;
mod rights;
mod shipped;
mod sign_in;
mod size;
mod slow;
mod stale;
mod steady;
mod streams;
mod tenant_access;
mod tenant_fresh;
mod tenant_look;
mod tenant_page;
mod values;
mod webhooks;
mod words;
