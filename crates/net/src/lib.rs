//! Connections to any server: the URL, its hosts and its encryption.

pub mod hosts;
pub mod outbound;
pub mod tls;
pub mod url;
