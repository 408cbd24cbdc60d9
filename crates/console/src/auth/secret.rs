//! Random values that are shown once, and whose hash is stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Begins every token, so that scanners of leaked secrets find them.
pub const TOKEN_PREFIX: &str = "tmk_";

/// 256 random bits as text.
#[must_use]
pub fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A new token of the API.
#[must_use]
pub fn random_token() -> String {
    format!("{TOKEN_PREFIX}{}", random())
}

/// The stored form. The value is random, so no slow hash is needed.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
