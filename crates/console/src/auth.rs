//! Who asks, and whether it may: users with passwords, users that a proxy names, tokens, or nobody on this machine.

pub mod attempts;
pub mod identify;
pub mod password;
pub mod secret;
pub mod session;
pub mod token;
pub mod who;
