//! The digest of a row's contact, as the target stores it.

/// Binds a contact's digest to the hash of the row that was made with it, or takes the binding off again. A release that does not
/// know the digest changes the row with its hash and leaves the digest: then it fits no contact.
#[must_use]
pub const fn bound_to(digest: i64, row_hash: [u8; 16]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = row_hash;
    digest ^ i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_comes_back_only_with_the_hash_that_it_was_bound_to() {
        let hash = std::array::from_fn(|place| u8::try_from(place).unwrap() + 3);
        let stored = bound_to(-77, hash);
        assert_eq!(bound_to(stored, hash), -77);
        let other = std::array::from_fn(|place| u8::try_from(place).unwrap() + 4);
        assert_ne!(bound_to(stored, other), -77);
    }
}
