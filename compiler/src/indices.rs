//! Dense indices: names to small numbers, the lowest free one first.

use std::collections::{BTreeMap, BTreeSet};

use rewire_schema::types::Name;

use crate::MOST_INDICES;

/// The indices of all names of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indices {
    by_name: BTreeMap<Name, u16>,
    /// The free indices below `end`; all from `end` on are free.
    free: BTreeSet<u16>,
    end: u16,
}

/// Names that come and go in one step, with their indices.
#[derive(Debug)]
pub(crate) struct Allocation {
    added: Vec<(Name, u16)>,
    removed: Vec<(Name, u16)>,
    /// The end of the indices before the step.
    end: u16,
}

impl Indices {
    /// The index of a name.
    pub(crate) fn get(&self, name: &Name) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// Finds indices for the names that come. An index that is given back in this step is not taken again in it: the
    /// tables would hold both owners' entries under it for a moment. The error is the name for which none was left.
    pub(crate) fn allocate(
        &self,
        added: Vec<Name>,
        removed: Vec<Name>,
    ) -> Result<Allocation, Name> {
        let mut candidates = self.free.iter().copied().chain(self.end..MOST_INDICES);
        let with_index = |name: Name| match candidates.next() {
            Some(index) => Ok((name, index)),
            None => Err(name),
        };
        let removed = removed.into_iter().filter_map(|name| {
            let index = self.get(&name)?;
            Some((name, index))
        });
        Ok(Allocation {
            added: added
                .into_iter()
                .map(with_index)
                .collect::<Result<_, _>>()?,
            removed: removed.collect(),
            end: self.end,
        })
    }

    /// Takes a step that was allocated in this state.
    pub(crate) fn forward(&mut self, step: &Allocation) {
        for (name, index) in &step.added {
            self.by_name.insert(name.clone(), *index);
            self.free.remove(index);
            self.end = self.end.max(*index + 1);
        }
        for (name, index) in &step.removed {
            self.by_name.remove(name);
            self.free.insert(*index);
        }
    }

    /// Takes the step back.
    pub(crate) fn backward(&mut self, step: &Allocation) {
        for (name, index) in &step.removed {
            self.by_name.insert(name.clone(), *index);
            self.free.remove(index);
        }
        self.end = step.end;
        for (name, index) in &step.added {
            self.by_name.remove(name);
            if *index < self.end {
                self.free.insert(*index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    fn step(indices: &mut Indices, added: &str, removed: &str) -> Allocation {
        let step = indices.allocate(names(added), names(removed)).unwrap();
        indices.forward(&step);
        step
    }

    #[test]
    fn the_lowest_free_index_comes_first_but_not_one_that_the_same_step_gives_back() {
        let mut indices = Indices::default();
        step(&mut indices, "a b c", "");
        step(&mut indices, "d", "a b");
        assert_eq!(indices.get(&names("d")[0]), Some(3));
        step(&mut indices, "e", "");
        assert_eq!(indices.get(&names("e")[0]), Some(0));
    }

    #[test]
    fn a_step_back_restores_everything() {
        let mut indices = Indices::default();
        step(&mut indices, "a b c", "");
        step(&mut indices, "", "b");
        let before = indices.clone();
        let taken = step(&mut indices, "d e f", "a");
        indices.backward(&taken);
        assert_eq!(indices, before);
    }

    #[test]
    fn running_out_names_who_found_none() {
        let mut indices = Indices::default();
        let all = (0..MOST_INDICES)
            .map(|i| format!("n{i}").parse().unwrap())
            .collect();
        let step = indices.allocate(all, Vec::new()).unwrap();
        indices.forward(&step);
        let error = indices.allocate(names("late"), names("n0")).unwrap_err();
        assert_eq!(error.as_str(), "late");
    }
}
