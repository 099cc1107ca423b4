//! Where a trigger's files are: a directory, or an object store.

use std::sync::Arc;

use penstock_common::limits::MAX_FILES_PER_TRIGGER;
use penstock_common::pattern::FilePattern;
use penstock_common::walk::StopOnDrop;

use super::objects::Objects;
use super::{Looked, local};

#[derive(Debug)]
pub(crate) enum Place {
    Directory(Arc<FilePattern>),
    Objects(Box<Objects>),
}

impl Place {
    /// What a trigger's path says; or what is wrong with it.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let directory = match path.split_once("://") {
            Some(("file", path)) => path,
            Some((scheme, rest)) => return Objects::open(scheme, rest).map(|objects| Self::Objects(Box::new(objects))),
            None => path,
        };
        if !directory.starts_with('/') {
            return Err(format!("path {path} begins with no slash: every coordinator must know which directory is meant"));
        }
        let pattern = FilePattern::parse(directory).map_err(|why| format!("path {path} {why}"))?;
        Ok(Self::Directory(Arc::new(pattern)))
    }

    /// Lists the files there.
    pub(crate) async fn look(&self) -> Looked {
        let pattern = match self {
            Self::Directory(pattern) => pattern.clone(),
            Self::Objects(objects) => return objects.look(MAX_FILES_PER_TRIGGER).await,
        };
        let stop = StopOnDrop::default();
        let stopped = stop.flag();
        let looking = tokio::task::spawn_blocking(move || local::look(&pattern, MAX_FILES_PER_TRIGGER, &stopped));
        looking.await.unwrap_or_else(|error| Looked { trouble: Some(format!("the look broke off: {error}")), ..Looked::default() })
    }
}
