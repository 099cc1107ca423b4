//! A secret is resolved on the worker, and is found nowhere else: not in logs, the store, errors, outputs or what is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read as _;
use std::path::Path;

use penstock_integration::{figure, penstock_with, turn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const CANARY: &str = "c4nary-7f3e9a-never-to-be-seen";
const FROM_FILE: &str = "k3y-from-a-file-51c2";

/// No secret, in an output that makes its journal entry so large that it is compressed.
const CONTROL: &str = "c0ntrol-2b8d-to-be-found";

/// How every frame of zstd begins.
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What each frame of zstd among some bytes says, as far as it can be read.
fn unpacked(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    starts.map(|(at, _)| {
        let mut unpacked = Vec::new();
        let frame = zstd::Decoder::with_buffer(&bytes[at..]).unwrap().single_frame();
        // What only looks like a frame, or is cut off, ends with an error.
        drop(frame.take(64 << 20).read_to_end(&mut unpacked));
        unpacked
    })
}

/// Every file below a folder that holds a text, and whether it does so as it is, or compressed with zstd.
fn holding(folder: &Path, text: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let name = path.display().to_string();
                found.extend(holds(&bytes, text).then(|| (name.clone(), "raw")));
                found.extend(unpacked(&bytes).any(|unpacked| holds(&unpacked, text)).then_some((name, "zstd")));
            }
        }
    }
    found
}

#[test]
fn what_is_compressed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..2_000).map(|n| if n == 1_000 { CANARY.to_owned() } else { format!("{n}-{} ", CANARY.len() * n) }).collect();
    let frame = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    std::fs::write(dir.path().join("journal"), [b"before".as_slice(), &MAGIC, &frame, b"after"].concat()).unwrap();
    let found = holding(dir.path(), CANARY);
    assert!(found.iter().any(|(_, how)| *how == "zstd"), "{found:?}");
    assert_eq!(holding(dir.path(), FROM_FILE), []);
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
      echo "{{\"output\": {{\"token\": \"$TOKEN\", \"text\": \"{CONTROL} $(seq -s ' ' 2000)\"}}}}" >> $PENSTOCK_OUTPUT
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
        assert_eq!(holding(&dir.path().join("state"), secret), [], "stored");
    }
    let found = holding(&dir.path().join("state"), CONTROL);
    assert!(found.iter().any(|(_, how)| *how == "zstd"), "nothing that was looked through is compressed: {found:?}");
}
