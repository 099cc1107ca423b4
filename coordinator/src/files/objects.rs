//! Objects of a store: S3, Google Cloud Storage, Azure Blob Storage. Credentials, regions and endpoints are those of the
//! coordinator's environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, RetryConfig};
use penstock_common::Timestamp;
use penstock_common::pattern::FilePattern;
use penstock_scheduler::input::FoundFile;

use super::Looked;
use super::http::Connector;

/// Objects that are listed for each that may match: what is deeper than the pattern is listed too.
const LISTED_PER_FILE: usize = 10;
/// One list, all its pages.
const LIST_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// `s3://bucket`
    origin: String,
    /// Over keys.
    pattern: FilePattern,
}

impl Objects {
    /// `rest`: bucket/pattern.
    pub(crate) fn open(scheme: &str, rest: &str) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("path {scheme}://{rest} {why}");
        let (bucket, keys) = rest
            .split_once('/')
            .filter(|(bucket, keys)| !bucket.is_empty() && !keys.is_empty())
            .ok_or_else(|| wrong(&"names no bucket with keys below it: write s3://BUCKET/PREFIX/*.csv"))?;
        let pattern = FilePattern::parse(keys).map_err(|why| wrong(&why))?;
        let retry = RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match scheme {
            "s3" | "s3a" => AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "az" => MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_http_connector(Connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            _ => return Err(wrong(&"is in no store that is known: use s3://, gs:// or az://, or an absolute path")),
        };
        let store = store.map_err(|error| wrong(&format!("cannot be opened with this coordinator's environment: {error}")))?;
        Ok(Self { store, origin: format!("{scheme}://{bucket}"), pattern })
    }

    #[cfg(test)]
    pub(crate) fn of(store: Arc<dyn ObjectStore>, origin: &str, pattern: &str) -> Self {
        Self { store, origin: origin.to_owned(), pattern: FilePattern::parse(pattern).unwrap() }
    }

    /// Lists the objects that are meant, at most so many.
    pub(crate) async fn look(&self, limit: usize) -> Looked {
        match tokio::time::timeout(LIST_FOR, self.list(limit)).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => self.trouble(Vec::new(), format!("cannot be listed: {}", words(&error))),
            Err(_) => self.trouble(Vec::new(), format!("were not listed within {} s", LIST_FOR.as_secs())),
        }
    }

    async fn list(&self, limit: usize) -> Result<Looked, object_store::Error> {
        let prefix = (!self.pattern.fixed().is_empty()).then(|| Path::from(self.pattern.fixed()));
        let mut files = Vec::new();
        if self.pattern.is_flat() {
            // What is below the prefix's own level is not listed.
            let objects = self.store.list_with_delimiter(prefix.as_ref()).await?.objects;
            files.extend(objects.iter().filter_map(|object| self.file(object)).take(limit + 1));
        } else {
            let mut listed = 0;
            let mut objects = self.store.list(prefix.as_ref());
            while let Some(object) = objects.next().await {
                files.extend(self.file(&object?));
                listed += 1;
                if files.len() > limit || listed > limit * LISTED_PER_FILE {
                    let why = format!(
                        "are more than can be looked through ({listed} were): name a longer prefix, or move away what is done with"
                    );
                    files.truncate(limit);
                    return Ok(self.trouble(files, why));
                }
            }
        }
        if files.len() > limit {
            files.truncate(limit);
            return Ok(self.trouble(files, format!("are more than {limit}: move away what is done with")));
        }
        Ok(Looked { files, is_whole: true, ..Looked::default() })
    }

    fn trouble(&self, files: Vec<FoundFile>, why: String) -> Looked {
        Looked { files, trouble: Some(format!("the objects {}/{} {why}", self.origin, self.pattern.as_str())), ..Looked::default() }
    }

    fn file(&self, object: &ObjectMeta) -> Option<FoundFile> {
        let key = object.location.as_ref();
        let modified = object.last_modified;
        self.pattern.matches(key).then(|| FoundFile {
            path: format!("{}/{key}", self.origin).into(),
            version: format!("{}-{}-{}", object.size, modified.timestamp_millis(), object.e_tag.as_deref().unwrap_or_default()).into(),
            size: object.size,
            modified: Timestamp(modified.timestamp_millis()),
        })
    }
}

/// An error and its causes.
fn words(error: &object_store::Error) -> String {
    let first: &dyn std::error::Error = error;
    let mut all = Vec::<String>::new();
    for one in std::iter::successors(Some(first), |error| error.source()) {
        let text = one.to_string();
        // Many say their causes themselves.
        if !all.iter().any(|before| before.contains(&text)) {
            all.push(text);
        }
    }
    all.join(": ")
}

#[cfg(test)]
mod tests;
