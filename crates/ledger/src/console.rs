//! What only the web console reads and writes: its users, sessions and tokens, and the numbers of its pages.

pub mod request;
pub mod session;
pub mod token;
pub mod user;
pub mod view;
