//! Medians of first responses, of all, of each inbox and of each agent.

use std::collections::BTreeMap;

use tidemark_ledger::tenant_page::numbers::Responses;

/// Seconds. `None`: no inbox, nobody.
type ByPlace = BTreeMap<Option<i64>, f64>;

#[derive(Debug, Default, PartialEq)]
pub struct Medians {
    pub median: Option<f64>,
    pub p90: Option<f64>,
    pub by_inbox: ByPlace,
    pub by_agent: ByPlace,
}

impl Medians {
    pub fn of(responses: Vec<Responses>) -> Self {
        let (mut all, mut inboxes, mut agents) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for one in responses {
            let inbox: &mut Vec<f64> = inboxes.entry(one.inbox_id.map(i64::from)).or_default();
            inbox.extend(&one.seconds);
            let agent: &mut Vec<f64> = agents.entry(one.assignee_id.map(i64::from)).or_default();
            agent.extend(&one.seconds);
            all.extend(one.seconds);
        }
        let medians = |places: BTreeMap<Option<i64>, Vec<f64>>| {
            let median = |(id, mut values): (_, Vec<f64>)| Some((id, percentile(&mut values, 1, 2)?));
            places.into_iter().filter_map(median).collect()
        };
        Self {
            median: percentile(&mut all, 1, 2),
            p90: percentile(&mut all, 9, 10),
            by_inbox: medians(inboxes),
            by_agent: medians(agents),
        }
    }
}

/// The value at `part` of `whole` of the way from the least to the greatest, between two values in proportion, as
/// `percentile_cont` finds it. `None`: there are no values.
fn percentile(values: &mut [f64], part: usize, whole: usize) -> Option<f64> {
    let steps = values.len().checked_sub(1)? * part;
    let (place, rest) = (steps / whole, steps % whole);
    let (_, lower, above) = values.select_nth_unstable_by(place, f64::total_cmp);
    let lower = *lower;
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    let share = f64::from(u32::try_from(rest).ok()?) / f64::from(u32::try_from(whole).ok()?);
    Some(share.mul_add(upper - lower, lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_percentile_cont() {
        assert_eq!(percentile(&mut [], 1, 2), None);
        assert_eq!(percentile(&mut [7.0], 9, 10), Some(7.0));
        assert_eq!(percentile(&mut [4.0, 1.0, 2.0], 1, 2), Some(2.0));
        assert_eq!(percentile(&mut [4.0, 1.0, 2.0, 10.0], 1, 2), Some(3.0));
        // SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY v) FROM unnest(ARRAY[1, 2, 4, 10]) v: 8.2
        let near = percentile(&mut [4.0, 1.0, 2.0, 10.0], 9, 10).expect("there are values");
        assert!((near - 8.2).abs() < 1e-9, "{near}");
        let mut many: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut many, 9, 10), Some(90.0));
    }

    #[test]
    fn each_response_counts_for_its_inbox_and_its_agent() {
        let one = |inbox_id, assignee_id, seconds: &[f64]| Responses {
            inbox_id,
            assignee_id,
            seconds: seconds.to_vec(),
        };
        let medians = Medians::of(vec![
            one(Some(1), Some(7), &[1.0, 5.0]),
            one(Some(1), None, &[9.0]),
            one(Some(2), Some(7), &[30.0]),
        ]);
        assert_eq!(medians.median, Some(7.0));
        assert_eq!(
            medians.by_inbox,
            BTreeMap::from([(Some(1), 5.0), (Some(2), 30.0)])
        );
        assert_eq!(medians.by_agent, BTreeMap::from([(Some(7), 5.0), (None, 9.0)]));
        assert_eq!(Medians::of(Vec::new()), Medians::default());
    }
}
