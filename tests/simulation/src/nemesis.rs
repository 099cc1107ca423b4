//! Faults at random: processes die, stop and vanish, links are cut, the store loses answers and restarts. Each fault ends by itself
//! after a while; at the end all of them do.

use std::time::Duration;

use crate::chance::Dice;
use crate::etcd::{self, Fate, Weather};
use crate::world::{self, World};

type Undo = Box<dyn FnOnce(&mut World)>;

/// Who does it.
pub struct Nemesis {
    dice: Dice,
    until_ms: u64,
    next_ms: u64,
    pause_ms: (u64, u64),
    open: Vec<(u64, Undo)>,
    healed: bool,
}

impl Nemesis {
    /// Faults from 3 s on until this time, one each `pause_ms`.
    pub fn new(seed: u64, until: Duration, pause_ms: (u64, u64)) -> Self {
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        Self { dice: Dice::new(seed, "nemesis"), until_ms, next_ms: 3_000, pause_ms, open: Vec::new(), healed: false }
    }

    /// Before each step.
    pub fn turn(&mut self, world: &mut World) {
        let now = world.now_ms();
        if self.healed {
            return;
        }
        if now >= self.until_ms {
            self.healed = true;
            for (_, undo) in self.open.drain(..) {
                undo(world);
            }
            world.heal();
            return;
        }
        while let Some(place) = self.open.iter().position(|(at, _)| *at <= now) {
            let (_, undo) = self.open.remove(place);
            undo(world);
        }
        if now >= self.next_ms {
            self.next_ms = now + self.dice.number(self.pause_ms.0, self.pause_ms.1);
            self.strike(world, now);
        }
    }

    fn later(&mut self, at: u64, undo: impl FnOnce(&mut World) + 'static) {
        self.open.push((at, Box::new(undo)));
    }

    fn coordinator(&self, world: &World) -> String {
        // The leader is where it hurts.
        match world.leader() {
            Some(leader) if self.dice.chance(60) => leader,
            _ => world::coordinator(usize::try_from(self.dice.number(1, world.size().0 as u64 + 1)).unwrap_or(1)),
        }
    }

    fn worker(&self, world: &World) -> String {
        world::worker(usize::try_from(self.dice.number(1, world.size().1 as u64 + 1)).unwrap_or(1))
    }

    fn cut(&mut self, world: &mut World, now: u64, a: String, b: String, most_ms: u64) {
        match self.dice.number(0, 3) {
            0 => world.cut(&a, &b),
            1 => world.cut_one_way(&a, &b),
            _ => world.cut_one_way(&b, &a),
        }
        let at = now + self.dice.number(300, most_ms);
        self.later(at, move |world| world.mend(&a, &b));
    }

    fn strike(&mut self, world: &mut World, now: u64) {
        let down = self.dice.millis(50, 6_000);
        match self.dice.number(0, 14) {
            0 | 1 => {
                let name = self.coordinator(world);
                world.kill(&name, down);
            }
            2 => {
                let name = self.coordinator(world);
                world.stop(&name);
            }
            3 => {
                let name = self.coordinator(world);
                world.lose(&name);
                self.later(now + self.dice.number(500, 12_000), move |world| world.find(&name));
            }
            4 | 5 => {
                let name = self.coordinator(world);
                self.cut(world, now, name, etcd::HOST.to_owned(), 10_000);
            }
            6 => {
                let (a, b) = (self.coordinator(world), self.worker(world));
                self.cut(world, now, a, b, 10_000);
            }
            7 => {
                let name = self.worker(world);
                world.isolate(&name);
                self.later(now + self.dice.number(500, 45_000), move |world| world.rejoin(&name));
            }
            8 => {
                let name = self.worker(world);
                world.kill(&name, down);
            }
            9 => {
                let name = self.worker(world);
                world.stop(&name);
            }
            10 => world.kill(etcd::HOST, down),
            11 => {
                world.etcd.set_weather(Weather { answer_lost: 5, timeout: 5, request_lost: 3, late: 5 });
                self.later(now + self.dice.number(1_000, 8_000), |world| world.etcd.set_weather(Weather::default()));
            }
            12 => {
                world.sim.set_max_message_latency(Duration::from_millis(400));
                world.etcd.stall_watches(true);
                self.later(now + self.dice.number(1_000, 6_000), |world| {
                    world.sim.set_max_message_latency(Duration::from_millis(10));
                    world.etcd.stall_watches(false);
                });
            }
            _ => {
                let fate = *self.dice.pick(&[Fate::SenderKilled, Fate::AnswerLost, Fate::RequestLost, Fate::Late(Duration::from_secs(3))]);
                world.etcd.trap(|_| true, fate);
            }
        }
    }
}
