use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test: `MENTAT_SYNC_BINARY`, or else the debug build of the package that this is in.
fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/mentat-sync");
    let binary = std::env::var_os("MENTAT_SYNC_BINARY").map_or_else(built, PathBuf::from);
    assert!(binary.exists(), "{binary:?} is not there: cargo build");
    binary
}

/// A run of a subcommand, with this as its data directory: its exit status and all that it said.
pub fn run(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

/// A free port on loopback, for a server that comes again where it was.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address")
}

/// A server process on loopback. Dropped, it is killed.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    data: PathBuf,
    directory: Arc<TempDir>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server on a fresh directory, with these flags.
    pub fn with(flags: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let data = directory.path().join("data");
        Self::on(directory, data, "127.0.0.1:0", flags)
    }

    fn on(directory: Arc<TempDir>, data: PathBuf, listen: &str, flags: &[&str]) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut child = Command::new(binary())
                .args(["serve", "--listen", listen, "--data"])
                .arg(&data)
                .args(flags)
                .env("RUST_LOG", "warn")
                .stdout(Stdio::piped())
                .spawn()
                .expect("the server starts");
            let mut line = String::new();
            let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
            stdout.read_line(&mut line).expect("a line");
            let address = line
                .split_once(" at http://")
                .and_then(|(_, address)| address.split([' ', '/', ',', '\n']).next()?.parse().ok());
            if let Some(address) = address {
                return Self {
                    child,
                    address,
                    data,
                    directory,
                };
            }
            // The port may still be held by the one that was killed.
            child.wait().expect("it ends");
            assert!(
                Instant::now() < deadline,
                "the server does not start: {line:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Another server on the same directory.
    pub fn another(&self) -> Self {
        self.another_at("127.0.0.1:0")
    }

    /// Another server on the same directory, at this address.
    pub fn another_at(&self, listen: &str) -> Self {
        Self::on(Arc::clone(&self.directory), self.data.clone(), listen, &[])
    }

    /// A server on another directory below the same temporary one.
    pub fn beside(&self, data: &Path) -> Self {
        Self::on(
            Arc::clone(&self.directory),
            data.to_owned(),
            "127.0.0.1:0",
            &[],
        )
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A snapshot of the store as it is now, below the same temporary directory.
    #[track_caller]
    pub fn copied(&self) -> PathBuf {
        let copy = self.directory.path().join("copy");
        let arguments = ["snapshot", copy.to_str().expect("it is text")];
        let (code, said) = run(&self.data, &arguments);
        assert_eq!(code, Some(0), "{said}");
        copy
    }

    /// The store is sound.
    #[track_caller]
    pub fn is_sound(&self) {
        let (code, said) = run(&self.data, &["fsck"]);
        assert_eq!(code, Some(0), "{said}");
    }

    /// The length of a user's chain, as `mentat-sync log` lists it.
    pub fn versions(&self, user: &str) -> usize {
        let (code, said) = run(&self.data, &["log", user]);
        assert_eq!(code, Some(0), "{said}");
        said.lines().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already: both fail then, and there is nothing left to do.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
