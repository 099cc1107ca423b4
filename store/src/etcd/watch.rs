//! A watch: one stream of etcd, of which only the fact that something came is used.
//!
//! It is not opened again here: when it ends, the follower reads and opens another. Tested by the conformance suite.

use async_trait::async_trait;
use etcd_client::{Error as EtcdError, WatchOptions, WatchStream};

use super::{DECODE_LIMIT, Etcd};
use crate::port::{Error, Wakes};

/// A watch that etcd has confirmed.
pub(super) struct Watch {
    stream: WatchStream,
    name: String,
}

/// Opens a watch from now on; returns when etcd has confirmed it.
pub(super) async fn open(etcd: &Etcd, prefix: &str) -> Result<Watch, Error> {
    let name = etcd.route.name(etcd.route.current()).to_owned();
    let stream = etcd.call(|| {
        let mut client = etcd.client.watch_client().max_decoding_message_size(DECODE_LIMIT);
        async move {
            let options = WatchOptions::new().with_prefix().with_fragment();
            let mut stream = client.watch(prefix, Some(options)).await?;
            loop {
                match stream.message().await? {
                    Some(message) if message.canceled() => return Err(EtcdError::WatchError(message.cancel_reason().to_owned())),
                    Some(message) if message.created() => return Ok(stream),
                    Some(_) => {}
                    None => return Err(EtcdError::WatchError("the stream ended before the watch was made".to_owned())),
                }
            }
        }
    });
    Ok(Watch { stream: stream.await?, name })
}

#[async_trait]
impl Wakes for Watch {
    async fn next(&mut self) -> Result<(), Error> {
        loop {
            let ended = |why: &str| Error::Unavailable(format!("the watch on etcd at {} has ended: {why}", self.name));
            match self.stream.message().await {
                Ok(Some(message)) if message.canceled() => return Err(ended(message.cancel_reason())),
                Ok(Some(message)) if message.events().is_empty() => {}
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err(ended("closed by the server")),
                Err(error) => return Err(super::failure::from_etcd(&self.name, &error)),
            }
        }
    }
}
