//! The journal as it lies in etcd, read without the coordinator's code: whole, chained, in order.

use std::collections::BTreeMap;

use penstock_common::{Digest, Epoch, Event, RunNo};
use penstock_proto::{decode_events, v1};
use prost::Message as _;

use crate::etcd::Etcd;

/// Entries of one cluster, from the first that is still there.
pub struct Journal {
    /// Epoch and events of each.
    pub entries: Vec<(Epoch, Vec<Event>)>,
    runs: BTreeMap<String, RunNo>,
}

impl Journal {
    /// Reads and checks it. Invariants L1 (epochs rise), L3 (no gap, repeat or fork) and T4 (fences rise).
    ///
    /// # Panics
    /// When it is not as it must be.
    pub async fn read(etcd: &Etcd) -> Self {
        let mut journal = Self { entries: Vec::new(), runs: BTreeMap::new() };
        let mut before: Option<(u64, Vec<u8>)> = None;
        let (mut epoch, mut fence) = (Epoch::default(), 0);
        for (key, bytes) in etcd.read("/penstock/default/journal/").await {
            let entry = v1::Entry::decode(&*bytes).expect("is an entry");
            let header = entry.header.expect("has a header");
            assert!(key.ends_with(&format!("{:016x}", header.seq)), "L3: {key} holds entry {}", header.seq);
            if let Some((seq, bytes)) = &before {
                assert_eq!(header.seq, seq + 1, "L3: a gap before {key}");
                assert_eq!(header.previous, Digest::of(bytes).0.to_vec(), "L3: {key} does not follow the entry before it");
            }
            let of: Epoch = header.epoch.unwrap_or_default().into();
            assert!(of >= epoch, "L1: {key} is of epoch {of}, after {epoch}");
            epoch = of;
            let body = if entry.compressed { zstd::bulk::decompress(&entry.body, 64 << 20).expect("is zstd") } else { entry.body.to_vec() };
            let events = decode_events(&body).expect("holds events");
            for event in &events {
                match event {
                    Event::RunCreated(created) => drop(journal.runs.insert(created.id.to_string(), created.run)),
                    Event::AttemptLeased { fence: new, .. } => {
                        assert!(new.0 > fence, "T4: {key} leases under fence {new} after {fence}");
                        fence = new.0;
                    }
                    _ => {}
                }
            }
            journal.entries.push((of, events));
            before = Some((header.seq, bytes));
        }
        journal
    }

    /// The leases of a run: (task, attempt) and fence.
    pub fn leases(&self, run: &str) -> BTreeMap<(u32, u32), u64> {
        let Some(no) = self.runs.get(run) else { return BTreeMap::new() };
        let events = self.entries.iter().flat_map(|(_, events)| events);
        let leases = events.filter_map(|event| match event {
            Event::AttemptLeased { run, task, number, fence, .. } if run == no => Some(((*task, *number), fence.0)),
            _ => None,
        });
        leases.collect()
    }

    /// When each attempt of a run was leased, in order: milliseconds since the Unix epoch.
    pub fn leased_at(&self, run: &str) -> Vec<i64> {
        let Some(no) = self.runs.get(run) else { return Vec::new() };
        let events = self.entries.iter().flat_map(|(_, events)| events);
        let times = events.filter_map(|event| match event {
            Event::AttemptLeased { run, at, .. } if run == no => Some(at.0),
            _ => None,
        });
        times.collect()
    }

    /// How many terms there were.
    pub fn terms(&self) -> usize {
        self.entries.iter().flat_map(|(_, events)| events).filter(|e| matches!(e, Event::TermStarted { .. })).count()
    }
}
