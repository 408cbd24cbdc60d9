//! Passwords: argon2id with the parameters that OWASP recommends (19 MiB, 2 passes).

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

/// The shortest password.
pub const SHORTEST: usize = 12;
/// Longer ones are refused, so that hashing them costs nothing unusual.
pub const LONGEST: usize = 500;

/// Checked in place of the hash of an unknown user, so that both answers take the same time.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("a password that nobody has"));

/// The hash to store.
///
/// # Panics
/// Never: the parameters are constant and valid.
#[must_use]
pub fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    let hashed = Argon2::default().hash_password(password.as_bytes(), &salt);
    hashed.expect("the default parameters are valid").to_string()
}

/// Why a password cannot be used.
#[must_use]
pub fn fault(password: &str) -> Option<String> {
    let length = password.chars().count();
    if length < SHORTEST {
        return Some(format!(
            "the password has {length} characters: at least {SHORTEST} are needed"
        ));
    }
    (length > LONGEST).then(|| format!("the password has {length} characters: at most {LONGEST} are allowed"))
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|stored| {
        Argon2::default()
            .verify_password(password.as_bytes(), &stored)
            .is_ok()
    })
}

/// Whether the password is the stored one. Takes as long where there is none.
pub async fn is_right(password: String, stored: Option<String>) -> bool {
    if password.chars().count() > LONGEST {
        return false;
    }
    let check = tokio::task::spawn_blocking(move || match stored {
        Some(stored) => verify(&password, &stored),
        None => {
            verify(&password, &NOBODY);
            false
        }
    });
    check.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_password_is_right() {
        let stored = hash("correct horse battery");
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(is_right("correct horse battery".into(), Some(stored.clone())).await);
        assert!(!is_right("correct horse batterY".into(), Some(stored)).await);
        assert!(!is_right("a password that nobody has".into(), None).await);
        assert!(!is_right("x".into(), Some("no hash".into())).await);
    }

    #[test]
    fn short_and_huge_passwords_are_refused() {
        assert!(fault("elevenchars").is_some_and(|text| text.contains("12")));
        assert_eq!(fault("twelve chars"), None);
        assert!(fault(&"x".repeat(501)).is_some());
    }
}
