use proptest::prelude::*;

use super::*;

/// The same, one slot at a time, with ticks of 64 bits.
#[derive(Default)]
struct Model {
    ticks: Vec<u64>,
    now: u64,
    began: u64,
    position: usize,
}

impl Model {
    fn schedule(&mut self, slot: usize, tick: u64) {
        let tick = tick.clamp(self.now, self.now + MOST_AHEAD - 1);
        match self.ticks.get_mut(slot) {
            Some(scheduled) => *scheduled = tick,
            None => self.ticks.push(tick),
        }
    }

    fn find_due(&mut self, now: u64, most: usize) -> Vec<u32> {
        self.now = now;
        let mut found = Vec::new();
        for _ in 0..SLOTS_PER_CALL {
            if found.len() == most {
                break;
            }
            if self.position == self.ticks.len() && self.began < now {
                (self.began, self.position) = (now, 0);
            }
            if self.position == self.ticks.len() {
                break;
            }
            if self.ticks[self.position] < now {
                self.ticks[self.position] = now;
                found.push(self.position as u32);
            }
            self.position += 1;
        }
        found
    }
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(usize, u64),
    Forget(usize),
    Hasten(usize, u64),
    /// So many are scheduled anew, one after the other.
    Begin(usize, u64),
    Find(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..1400_usize;
    let ahead = prop_oneof![4 => 0..4_u64, 1 => 0..MOST_AHEAD + 9];
    let most = prop_oneof![0..70_usize, Just(usize::MAX)];
    let passed = prop_oneof![8 => 0..3_u64, 2 => 0..9000_u64, 1 => 0..1_000_000_u64];
    prop_oneof![
        4 => (slot.clone(), ahead.clone()).prop_map(|(slot, ahead)| Step::Schedule(slot, ahead)),
        2 => slot.clone().prop_map(Step::Forget),
        2 => (slot, ahead.clone()).prop_map(|(slot, ahead)| Step::Hasten(slot, ahead)),
        1 => (0..200_usize, ahead).prop_map(|(number, ahead)| Step::Begin(number, ahead)),
        4 => (passed, most).prop_map(|(passed, most)| Step::Find(passed, most)),
    ]
}

proptest! {
    /// Finds those that are due in the order of their places, no others, and none twice, wherever a call begins and ends.
    #[test]
    fn like_one_at_a_time(first in 0..1400_usize, steps in prop::collection::vec(step(), 0..200)) {
        let (mut sweep, mut model) = (Sweep::new(1400), Model::default());
        let begin = |sweep: &mut Sweep, model: &mut Model, number, ahead| {
            for slot in model.ticks.len()..1400.min(model.ticks.len() + number) {
                sweep.schedule(slot as u32, model.now + ahead + slot as u64 % 5);
                model.schedule(slot, model.now + ahead + slot as u64 % 5);
            }
        };
        begin(&mut sweep, &mut model, first, 0);
        for step in steps {
            let slots = model.ticks.len();
            match step {
                Step::Schedule(slot, ahead) if slot < slots => {
                    sweep.schedule(slot as u32, model.now + ahead);
                    model.schedule(slot, model.now + ahead);
                }
                Step::Forget(slot) if slot < slots => {
                    sweep.forget(slot as u32);
                    model.schedule(slot, u64::MAX);
                }
                Step::Hasten(slot, ahead) if slot < slots => {
                    // What has been due is looked at soon, whatever it was.
                    if model.ticks[slot] >= model.now {
                        sweep.hasten(slot as u32, model.now + ahead);
                        let tick = model.ticks[slot].min(model.now + ahead);
                        model.schedule(slot, tick);
                    }
                }
                Step::Begin(number, ahead) => begin(&mut sweep, &mut model, number, ahead),
                Step::Find(passed, most) => {
                    let now = model.now + passed;
                    if sweep.is_leap(now) {
                        sweep.leap(now, false);
                        (model.now, model.began, model.position) = (now, now, 0);
                        model.ticks.fill(now - 1);
                    }
                    let mut found = Due::new();
                    sweep.find_due(now, most, &mut found);
                    prop_assert_eq!(found.as_slice(), model.find_due(now, most));
                }
                Step::Schedule(..) | Step::Forget(_) | Step::Hasten(..) => {}
            }
        }
    }
}
