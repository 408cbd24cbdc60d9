//! The web console: who may do what, what it shows, and what a person can do in a browser.

mod api;
mod browser;
mod bulk;
mod changes;
pub mod client;
mod journey;
mod look;
mod resync;
mod rights;
mod shipped;
mod sign_in;
mod streams;
mod webhooks;
