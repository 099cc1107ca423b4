//! Lists of a store in memory, and of one that answers as S3 does, over a socket.

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::*;

fn paths(looked: &Looked) -> Vec<&str> {
    looked.files.iter().map(|file| &*file.path).collect()
}

#[tokio::test]
async fn objects_are_meant_as_files_are_and_each_upload_is_a_version() {
    let store = Arc::new(InMemory::new());
    let put = async |key: &str| drop(store.put(&Path::from(key), PutPayload::from_static(b"x")).await.unwrap());
    for key in ["in/a.csv", "in/b.csv", "in/b.txt", "in/.c.csv", "in/done/d.csv", "out/e.csv"] {
        put(key).await;
    }
    let flat = Objects::of(store.clone(), "s3://landing", "in/*.csv");
    let before = flat.look(10).await;
    assert_eq!(paths(&before), ["s3://landing/in/a.csv", "s3://landing/in/b.csv"]);
    assert!(before.is_whole && before.trouble.is_none());
    put("in/a.csv").await;
    let after = flat.look(10).await;
    assert_ne!(before.files[0].version, after.files[0].version);
    assert_eq!(before.files[1].version, after.files[1].version);

    let deep = Objects::of(store.clone(), "s3://landing", "*/done/*");
    assert_eq!(paths(&deep.look(10).await), ["s3://landing/in/done/d.csv"]);
    let few = flat.look(1).await;
    assert_eq!((few.files.len(), few.is_whole), (1, false));
    assert!(few.trouble.unwrap().contains("s3://landing/in/*.csv are more than 1:"));
}

#[test]
fn what_names_no_store_says_what_to_write() {
    for (scheme, rest, word) in [("s3", "bucket", "s3://BUCKET/PREFIX"), ("ftp", "host/a", "no store"), ("s3", "b/../*", "`..`")] {
        let why = Objects::open(scheme, rest).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

const LIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>landing</Name><Prefix>in/</Prefix><KeyCount>1</KeyCount>
<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>in/a.csv</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>
<ETag>"abc"</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"#;

#[tokio::test]
async fn a_list_goes_over_this_connector_signed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let list = |RawQuery(query): RawQuery, headers: HeaderMap| async move {
        let signed = headers.get("authorization").is_some_and(|value| value.to_str().unwrap().contains("Credential=key"));
        let asked = query.is_some_and(|query| query.contains("list-type=2") && query.contains("prefix=in"));
        if signed && asked { (StatusCode::OK, LIST) } else { (StatusCode::FORBIDDEN, "") }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/landing", get(list))).await });
    let store = |endpoint: &str, bucket: &str| {
        let builder =
            AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true).with_region("eu-west-3").with_bucket_name(bucket);
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let builder = builder.with_access_key_id("key").with_secret_access_key("secret").with_http_connector(Connector).with_retry(retry);
        Arc::new(builder.build().unwrap())
    };
    let looked = Objects::of(store(&endpoint, "landing"), "s3://landing", "in/*.csv").look(10).await;
    assert_eq!((looked.trouble.as_deref(), paths(&looked)), (None, vec!["s3://landing/in/a.csv"]));
    assert_eq!((looked.files[0].size, &*looked.files[0].version), (7, "7-1704164645000-\"abc\""));

    let refused = Objects::of(store(&endpoint, "other"), "s3://other", "in/*.csv").look(10).await;
    let why = refused.trouble.unwrap();
    assert!(!refused.is_whole && why.starts_with("the objects s3://other/in/*.csv cannot be listed:"), "{why}");
    let nobody = Objects::of(store("http://127.0.0.1:9", "landing"), "s3://landing", "in/*.csv").look(10).await;
    assert!(nobody.trouble.unwrap().contains("cannot be listed"));
}
