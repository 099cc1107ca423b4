//! Every backend keeps every promise of the port.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use penstock_store::conformance::{Abilities, run};
use penstock_store::{Embedded, Etcd, EtcdOptions, Memory};

use support::etcd::EtcdServer;

#[tokio::test(start_paused = true)]
async fn memory_keeps_every_promise() {
    run(Arc::new(Memory::new()), "/penstock/test/", Abilities { sessions_expire: true }).await;
}

#[tokio::test]
async fn the_embedded_store_keeps_every_promise() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    run(Arc::new(store), "/penstock/test/", Abilities { sessions_expire: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_keeps_every_promise() {
    let server = EtcdServer::start();
    let options = EtcdOptions { endpoints: vec![server.endpoint()], ..EtcdOptions::default() };
    let store = Etcd::connect(options).await.unwrap();
    run(Arc::new(store), "/penstock/test/", Abilities { sessions_expire: true }).await;
}
