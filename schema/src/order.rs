//! Sorting many rows that come in almost any order: a database gives keys in the order of their texts, where 10.0.10.0 comes
//! before 10.0.2.0.

use crate::state::KeyRange;

/// Sorts rows by their keys; those of equal keys stay as they came. A row is large: what is sorted is sixteen bytes for each, and
/// then each row moves once, within its place in memory.
pub(crate) fn sort<K: KeyRange, R>(rows: &mut [(K, R)]) {
    if rows.is_sorted_by(|(a, _), (b, _)| a <= b) {
        return;
    }
    // Rows whose keys begin alike come together, in the order of these beginnings, or else this is not worth the effort.
    let mut group = 0u32;
    let mut order: Vec<(u32, u32, u64)> = Vec::with_capacity(rows.len());
    for (index, (key, _)) in rows.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &rows[before].0);
        let begins = before.is_some_and(|before| !key.begins_like(before));
        let (is_in_order, place) = (!begins || before < Some(key), u32::try_from(index));
        let (true, Ok(place)) = (is_in_order, place) else {
            return rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        };
        group += u32::from(begins);
        order.push((group, place, key.order_hint()));
    }
    order.sort_unstable_by(|a, b| {
        let keys = || {
            let key = |index: u32| &rows[index as usize].0;
            key(a.1).cmp(key(b.1)).then(a.1.cmp(&b.1))
        };
        (a.0, a.2).cmp(&(b.0, b.2)).then_with(keys)
    });
    permute(rows, order.into_iter().map(|(_, index, _)| index).collect());
}

/// Puts the row `order[i]` into place `i`, for all places.
fn permute<T>(rows: &mut [T], mut order: Vec<u32>) {
    for start in 0..rows.len() {
        let mut place = start;
        // Along the cycle: each place gets what belongs there, and the one that is left is the start's own.
        loop {
            let from = order[place] as usize;
            order[place] = place as u32;
            if from == start {
                break;
            }
            rows.swap(place, from);
            place = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Name, Prefix};

    fn keys() -> impl Strategy<Value = Vec<(Name, Prefix, u16)>> {
        let name = prop_oneof![Just("a"), Just("b"), Just("bb")];
        let prefix = prop_oneof![
            (0u8..3, 0u8..=255, 20u8..=32)
                .prop_map(|(a, b, length)| format!("10.{a}.{b}.0/{length}")),
            (0u16..4, 60u8..=128).prop_map(|(a, length)| format!("2001:db8:0:{a}::/{length}")),
            (0u16..4).prop_map(|a| format!("2001:db8::{a}/128")),
        ];
        let key = (name, prefix, 0u16..3).prop_map(|(name, prefix, position)| {
            let net: ipnet::IpNet = prefix.parse().unwrap();
            (name.parse().unwrap(), Prefix::new(net), position)
        });
        prop::collection::vec(key, 0..40)
    }

    proptest! {
        /// The oracle: the sort of the standard library.
        #[test]
        fn rows_are_sorted_and_equal_ones_stay_as_they_came(keys in keys(), by_text: bool) {
            let mut rows: Vec<_> = keys.into_iter().zip(0..).collect();
            if by_text {
                rows.sort_by_key(|((name, prefix, position), _)| (name.clone(), prefix.to_string(), *position));
            }
            let mut expected: Vec<((Name, Prefix, u16), i32)> = rows.clone();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            sort(&mut rows);
            prop_assert_eq!(rows, expected);
        }
    }
}
