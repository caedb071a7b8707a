//! Server processes.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A `mentat-sync serve` on loopback, at a port of the system's choice. Dropped, it is killed.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Serves this directory, and breaks this rule, if any (see `src/store/mistake.rs`).
    pub fn start(binary: &Path, data: &Path, mistake: Option<&str>) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command
            .args([
                "serve",
                "--allow-delete",
                "--listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(mistake) = mistake {
            command.env("MENTAT_SYNC_MISTAKE", mistake);
        }
        let mut child = command.spawn()?;
        let out = child.stdout.take().expect("stdout is piped");
        let mut err = child.stderr.take().expect("stderr is piped");
        let complaints = std::thread::spawn(move || {
            let mut said = String::new();
            err.read_to_string(&mut said).map(|_| said)
        });
        let mut line = String::new();
        let mut out = BufReader::new(out);
        out.read_line(&mut line)?;
        let address = line
            .split_once(" at http://")
            .and_then(|(_, rest)| rest.split([' ', '/', ',']).next()?.trim().parse().ok());
        let Some(address) = address else {
            child.kill().ok();
            child.wait()?;
            let said = complaints.join().expect("reading a pipe")?;
            return Err(io::Error::other(format!("it does not start: {line}{said}")));
        };
        // Whoever stops reading ends a server that writes.
        std::thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        Ok(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the client noticed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
