//! What is durable leaves for the workers: leases, cancels, kills, acknowledgements, in few messages.

use std::collections::BTreeMap;

use penstock_common::{Reason, SessionId};
use penstock_proto::v1;
use penstock_scheduler::Effect;

use super::Driver;
use crate::held::Acks;

/// Lease bytes in one message, about.
const LEASES_BYTES: usize = 512 * 1024;

impl Driver<'_> {
    fn message(&self, kind: v1::to_worker::Kind) -> v1::ToWorker {
        v1::ToWorker { epoch: Some(self.header.epoch.into()), seq: self.term.replica.seq.0, kind: Some(kind) }
    }

    pub(super) fn acknowledge(&self, session: &SessionId, acks: Acks) {
        if !acks.stale.is_empty() {
            let kill = v1::Kill { fences: acks.stale.clone() };
            self.term.sessions.send(session, self.message(v1::to_worker::Kind::Kill(kill)));
        }
        let fences = acks.recorded.into_iter().chain(acks.stale).collect();
        self.term.sessions.send(session, self.message(v1::to_worker::Kind::Acks(v1::ReportAcks { fences })));
    }

    pub(super) fn release_effects(&mut self, effects: Vec<Effect>) {
        let mut leases: BTreeMap<SessionId, Vec<v1::Lease>> = BTreeMap::new();
        let mut cancels: BTreeMap<(SessionId, Reason), Vec<u64>> = BTreeMap::new();
        let mut kills: BTreeMap<SessionId, Vec<u64>> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Lease { session, lease } => leases.entry(session).or_default().push((*lease).into()),
                Effect::Cancel { session, fence, reason } => cancels.entry((session, reason)).or_default().push(fence.0),
                Effect::Kill { session, fence } => kills.entry(session).or_default().push(fence.0),
                Effect::Archive(cut) => self.to_archive.push_back(*cut),
                Effect::Recall(recall) => self.to_recall.push_back(*recall),
            }
        }
        for (session, leases) in leases {
            let mut rest = leases.into_iter().peekable();
            while rest.peek().is_some() {
                let mut message = v1::Leases::default();
                let mut bytes = 0;
                while let Some(lease) = rest.next_if(|_| bytes < LEASES_BYTES) {
                    bytes += lease.spec.len() + lease.params.len() + 256;
                    bytes += lease.outputs.values().flat_map(|o| o.values.values()).map(String::len).sum::<usize>();
                    message.leases.push(lease);
                }
                self.term.sessions.send(&session, self.message(v1::to_worker::Kind::Leases(message)));
            }
        }
        for ((session, reason), fences) in cancels {
            let cancel = v1::Cancel { fences, reason: reason.as_str().to_owned() };
            self.term.sessions.send(&session, self.message(v1::to_worker::Kind::Cancel(cancel)));
        }
        for (session, fences) in kills {
            self.term.sessions.send(&session, self.message(v1::to_worker::Kind::Kill(v1::Kill { fences })));
        }
    }
}
