//! What a failure needs: parts are left out for as long as it stays the same. Delta debugging (Zeller and Hildebrandt, "Simplifying
//! and Isolating Failure-Inducing Input", 2002), which ends with a part of which nothing can be left out, one by one.

/// Tries that are left. No clock ends them: what is found is the same on a busy machine.
pub(super) struct Tries {
    pub(super) made: u64,
    most: u64,
    /// How many frames may still be replayed.
    frames: u64,
}

impl Tries {
    /// So many, with so many frames in all of them.
    pub(super) fn new(most: u64, frames: u64) -> Tries {
        Tries {
            made: 0,
            most,
            frames,
        }
    }

    /// Whether there is one more, of so many frames; takes it.
    pub(super) fn take(&mut self, frames: u64) -> bool {
        let left = self.frames.checked_sub(frames);
        let Some(left) = left.filter(|_| self.made < self.most) else {
            return false;
        };
        self.frames = left;
        self.made += 1;
        true
    }
}

/// The least that is found of `all`, in order, for which `fails` holds, as it does for all of them; and whether nothing more of it
/// can be left out. `cost` is how many frames it takes to try a part. What is at the end matters most often: it is tried first.
pub(super) fn least(
    all: Vec<usize>,
    tries: &mut Tries,
    cost: impl Fn(&[usize]) -> u64,
    mut fails: impl FnMut(&[usize]) -> bool,
) -> (Vec<usize>, bool) {
    if all.is_empty() {
        return (all, true);
    }
    if !tries.take(cost(&[])) {
        return (all, false);
    }
    if fails(&[]) {
        return (Vec::new(), true);
    }
    let mut needed = all;
    let mut parts = 2;
    while needed.len() > 1 {
        let size = needed.len().div_ceil(parts);
        let mut smaller = None;
        // A part alone, the last one first; then all but one part. Of two parts, one is all but the other.
        let alone = (0..parts).rev().map(|part| (part, true));
        let without = (0..parts).map(|part| (part, false));
        for (part, is_alone) in alone.chain(without.filter(|_| parts > 2)) {
            let begin = (part * size).min(needed.len());
            let end = (begin + size).min(needed.len());
            if begin == end {
                continue;
            }
            let tried = match is_alone {
                true => needed[begin..end].to_vec(),
                false => [&needed[..begin], &needed[end..]].concat(),
            };
            if !tries.take(cost(&tried)) {
                return (needed, false);
            }
            if fails(&tried) {
                smaller = Some((tried, is_alone));
                break;
            }
        }
        match smaller {
            Some((tried, true)) => (needed, parts) = (tried, 2),
            Some((tried, false)) => (needed, parts) = (tried, (parts - 1).max(2)),
            None if parts >= needed.len() => return (needed, true),
            None => parts = (2 * parts).min(needed.len()),
        }
    }
    (needed, true)
}
