//! Connections to any server: the URL and its encryption.

pub mod tls;
pub mod url;
