//! What every connection has, whichever server it leads to: the URL and its encryption.

pub mod tls;
pub mod url;
