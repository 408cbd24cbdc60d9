//! Random texts from the word lists.

use rand::{Rng, RngExt};

use crate::words::{
    ARABIC, CHINESE, EMOJI, ENGLISH, FIRST_NAMES, LAST_NAMES, ODD_NAMES, PORTUGUESE, SPANISH,
};

pub fn pick<T: Copy>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// Goes around in the list by an id.
pub fn nth<T: Copy>(from: &[T], id: i32) -> T {
    from[usize::try_from(id).expect("ids are positive") % from.len()]
}

/// The sentences of a random language, Portuguese in two of three cases.
pub fn language(rng: &mut impl Rng) -> &'static [&'static str] {
    match rng.random_range(0..100) {
        0..66 => PORTUGUESE,
        66..82 => ENGLISH,
        82..92 => SPANISH,
        92..96 => ARABIC,
        _ => CHINESE,
    }
}

/// The text of a message: usually one to four sentences, sometimes only an emoji.
pub fn short_text(rng: &mut impl Rng, language: &[&str]) -> String {
    if rng.random_ratio(1, 20) {
        return pick(rng, EMOJI).to_owned();
    }
    let mut text = pick(rng, language).to_owned();
    while rng.random_ratio(2, 5) && text.len() < 400 {
        text.push(' ');
        text.push_str(pick(rng, language));
    }
    if rng.random_ratio(1, 8) {
        text.push(' ');
        text.push_str(pick(rng, EMOJI));
    }
    text
}

/// A text of `length` characters, like a pasted document or log.
pub fn document(rng: &mut impl Rng, language: &[&str], length: usize) -> String {
    let mut text = String::new();
    let mut left = length;
    while left > 0 {
        let sentence = pick(rng, language);
        text.extend(sentence.chars().chain(['\n']).take(left));
        left = left.saturating_sub(sentence.chars().count() + 1);
    }
    text
}

pub fn person(rng: &mut impl Rng) -> String {
    format!("{} {}", pick(rng, FIRST_NAMES), pick(rng, LAST_NAMES))
}

pub fn odd_person(rng: &mut impl Rng) -> String {
    pick(rng, ODD_NAMES).to_owned()
}

/// A name longer than the 255 characters that analytics keeps. The cut falls between multi-byte characters.
pub fn long_person(rng: &mut impl Rng) -> String {
    format!("{} {}", person(rng), "ção🌎".repeat(rng.random_range(64..120)))
}
