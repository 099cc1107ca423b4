//! `--store`: which store to open.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use penstock_store::{Embedded, Etcd, EtcdOptions, Store, Tls};

use crate::args::Server;

/// Opens the store that the arguments name.
pub(crate) async fn open(args: &Server) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(path) = args.store.strip_prefix("embedded:") {
        return Ok(Arc::new(Embedded::open(&PathBuf::from(path))?));
    }
    let Some(hosts) = args.store.strip_prefix("etcd://") else {
        bail!("{:?} is not a store: write etcd://h1:2379,h2:2379 or embedded:PATH", args.store);
    };
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    let tls = match (&args.store_ca, &args.store_cert, &args.store_key) {
        (None, None, None) => None,
        (None, ..) => bail!("--store-cert is given without --store-ca: name the authority that signed etcd's certificate"),
        (Some(ca), cert, key) => {
            let identity = cert.as_ref().zip(key.as_ref()).map(|(cert, key)| anyhow::Ok((read(cert)?, read(key)?))).transpose()?;
            Some(Tls { ca: read(ca)?, identity, domain: None })
        }
    };
    let user = match &args.store_user {
        None => None,
        Some(user) => {
            let password =
                std::env::var("PENSTOCK_STORE_PASSWORD").context("--store-user is given, so PENSTOCK_STORE_PASSWORD must be set")?;
            Some((user.clone(), password))
        }
    };
    let endpoints = hosts.split(',').map(str::to_owned).collect();
    let options = EtcdOptions { endpoints, user, tls, quota: args.store_quota, ..EtcdOptions::default() };
    Ok(Arc::new(Etcd::connect(options).await?))
}
