//! The operations that a front end offers to people: the command line and the web console. Nothing here prints.

pub mod accounts;
pub mod audit;
pub mod bulk;
pub mod dead_messages;
pub mod doctor;
pub mod error;
pub mod housekeeping;
pub mod ids;
pub mod inboxes;
pub mod lists;
pub mod page;
pub mod plan_preview;
pub mod refusal;
pub mod resync;
pub mod run_control;
pub mod run_requests;
pub mod run_watch;
pub mod script_import;
pub mod source_restore;
pub mod status;
pub mod tenant_logins;
pub mod tenants;
pub mod verify;
pub mod watermarks;
pub mod webhooks;
pub mod why;
