//! The web console: who may do what, what it shows, and what a person can do in a browser.

mod api;
mod browser;
pub mod client;
mod journey;
mod look;
mod rights;
mod shipped;
mod sign_in;
mod streams;
mod tenant_look;
mod tenant_page;
