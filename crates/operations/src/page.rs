//! Parts of long lists.

use serde::Serialize;

/// A part of a list, and where the next part begins; `None` at the end of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Cuts a list that was read with one entry more than `limit`. `cursor` is the position of an entry.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> C) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(cursor);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_begins_after_the_last_entry_shown() {
        let page = |items: &[i64], limit| Page::cut(items.to_vec(), limit, |id| *id);
        let cut = page(&[9, 8, 7], 2);
        assert_eq!((cut.items, cut.next), (vec![9, 8], Some(8)));
        let whole = page(&[9, 8], 2);
        assert_eq!((whole.items, whole.next), (vec![9, 8], None));
        assert_eq!(page(&[], 2).next, None);
    }
}
