//! A secret is resolved on the worker, and is found nowhere else: not in logs, the store, errors, outputs or what is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use penstock_integration::{figure, penstock_with, turn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const CANARY: &str = "c4nary-7f3e9a-never-to-be-seen";
const FROM_FILE: &str = "k3y-from-a-file-51c2";

/// Every file below a folder that holds a text, raw or compressed with zstd.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && std::fs::read(&path).unwrap().windows(text.len()).any(|w| w == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_in_no_log_no_journal_entry_no_error_and_nothing_that_is_shown() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("secrets/KEY"), format!("{FROM_FILE}\n")).unwrap();
    // A real server that notes what it is sent, and sends it back.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let n = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..n]).into_owned();
        let body = format!("you are {CANARY}");
        let answer = format!("HTTP/1.1 500 No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    let document = format!(
        r#"pipeline: canary
env: {{TOKEN: {{secret: TOKEN}}, KEY: {{secret: KEY}}}}
tasks:
  prints:
    shell: |
      echo "out $TOKEN" ; echo "err $KEY" >&2
      printf '%s' "$TOKEN" | sed 's/./&/g'
      echo "{{\"output\": {{\"token\": \"$TOKEN\"}}}}" >> $PENSTOCK_OUTPUT
      test "$TOKEN" = {CANARY} && test "$KEY" = {FROM_FILE} && touch it-was-there
  exits: {{shell: "echo \"the last words are $TOKEN\"; exit 3"}}
  fails: {{shell: "echo \"{{\\\"fail\\\": \\\"bad token $KEY\\\"}}\" >> $PENSTOCK_OUTPUT"}}
  asks: {{http: {{url: "http://{address}/", headers: {{Authorization: {{secret: TOKEN}}}}}}}}
  missing: {{shell: "true", env: {{X: {{secret: NO_SUCH_SECRET}}}}}}
"#
    );
    // The document itself names the values only to see that the program got them: that copy is not looked at.
    std::fs::create_dir(dir.path().join("code")).unwrap();
    std::fs::write(dir.path().join("code/canary.yaml"), document.replace(CANARY, "$WANTED").replace(FROM_FILE, "$WANTED_KEY")).unwrap();
    let env = [("PENSTOCK_SECRET_TOKEN", CANARY), ("WANTED", CANARY), ("WANTED_KEY", FROM_FILE)];
    let args = ["--log", "trace", "run", "code/canary.yaml", "--secrets", "secrets", "--http-allow-private", "--state", "state"];
    let ran = penstock_with(dir.path(), &args, &env).await.without_panic();
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(dir.path().join("code/it-was-there").exists(), "the program got its secrets: {}", ran.stdout);
    let request = served.await.unwrap();
    assert!(request.to_lowercase().contains(&format!("authorization: {CANARY}")), "the server got it: {request}");
    assert!(ran.stdout.contains("***"), "what would show it is masked: {}", ran.stdout);
    assert!(ran.stdout.contains("NO_SUCH_SECRET") && ran.stdout.contains("PENSTOCK_SECRET_NO_SUCH_SECRET"), "a missing one is named");
    figure("bytes of trace log looked through", ran.stderr.len());
    for secret in [CANARY, FROM_FILE] {
        assert!(!ran.stdout.contains(secret), "shown: {}", ran.stdout);
        assert!(!ran.stderr.contains(secret), "in the log of the coordinator or worker");
        assert_eq!(holding(&dir.path().join("state"), secret), [""; 0], "stored");
    }
}
