//! A PostgreSQL server of the machine's own package, in a directory of its own, on loopback. It is shared by the tests that run at
//! the same time, and ends with the last of them.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls};

pub const PASSWORD: &str = "hunter2/hunter2@";
/// The password as a URL holds it.
pub const IN_URL: &str = "hunter2%2Fhunter2%40";

pub struct Postgres {
    pub port: u16,
    /// Who is trusted to be this server, for TLS.
    pub certificate: PathBuf,
    _dir: tempfile::TempDir,
    process: Child,
}

impl Postgres {
    pub async fn start() -> Arc<Self> {
        // Started once at a time; others wait for it.
        static SHARED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let _one = SHARED.lock().await;
        if let Some(server) = SERVER.lock().unwrap().upgrade() {
            return server;
        }
        let server = Arc::new(tokio::task::spawn_blocking(Self::begin).await.unwrap());
        super::eventually_async("PostgreSQL answers", async || server.try_connect().await.is_some()).await;
        *SERVER.lock().unwrap() = Arc::downgrade(&server);
        server
    }

    fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, password) = (dir.path().join("data"), dir.path().join("password"));
        std::fs::write(&password, PASSWORD).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (key, certificate) = super::tls::certificate(dir.path());
        for path in [dir.path(), &password, &key, &certificate] {
            give(path);
        }
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let made = program("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-N", "-E", "UTF8", "--locale=C", "-U", "postgres", "--auth=scram-sha-256"])
            .arg("--pwfile")
            .arg(&password)
            .output();
        let made = made.expect("PostgreSQL is installed (Debian: postgresql)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = program("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-F", "-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""])
            .args([
                "-c",
                "ssl=on",
                "-c",
                &format!("ssl_cert_file={}", certificate.display()),
                "-c",
                &format!("ssl_key_file={}", key.display()),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { port, certificate, _dir: dir, process }
    }

    async fn try_connect(&self) -> Option<Client> {
        let (client, connection) = tokio_postgres::connect(&format!("{}?sslmode=disable", self.url()), NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    /// A connection of the test's own, to look from outside.
    pub async fn client(&self) -> Client {
        self.try_connect().await.expect("PostgreSQL answers")
    }
    /// With the password.
    pub fn url(&self) -> String {
        format!("postgres://postgres:{IN_URL}@127.0.0.1:{}/postgres", self.port)
    }
    /// Without it.
    pub fn bare_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, with its children.
        let _ = kill_process(Pid::from_child(&self.process), Signal::QUIT);
        let _ = self.process.wait();
    }
}

/// One of PostgreSQL's programs, as a user that it agrees to run as.
fn program(name: &str) -> Command {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .ok()
        .and_then(|versions| versions.flatten().map(|v| v.path().join("bin").join(name)).max());
    let mut command = Command::new(debian.filter(|path| path.exists()).unwrap_or_else(|| name.into()));
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

/// The package's user, where this is root.
fn user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user postgres (Debian: postgresql)");
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some((ids.next().unwrap(), ids.next().unwrap()))
}

fn give(path: &Path) {
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}
