//! A certificate of its own for `localhost`, by openssl, and Python's HTTP server behind it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;

pub struct TlsServer {
    pub port: u16,
    pub certificate: PathBuf,
    process: Child,
}

/// A key and a certificate that nobody has signed but itself.
pub fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (key, certificate) = (dir.join("server.key"), dir.join("server.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}

impl TlsServer {
    pub async fn start(dir: &Path) -> Self {
        const SERVER: &str = "
import http.server, ssl, sys
server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";
        let (key, certificate) = certificate(dir);
        let mut process = Command::new("python3")
            .args(["-c", SERVER])
            .args([&certificate, &key])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
        let port = line.trim().parse().unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self { port, certificate, process }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
