//! Server processes.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// How long a server may take to start, on a box that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `mentat-sync serve` on loopback, at a port of the system's choice. Dropped, it is killed.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Serves this directory, and breaks this rule, if any (see `src/store/mistake.rs`). Fails with what the
    /// server says where it does not start, and with `TimedOut` where it says nothing for long.
    pub fn start(binary: &Path, data: &Path, mistake: Option<&str>) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command
            .args(["serve", "--allow-delete", "--listen"])
            .arg(format!("{}:0", loopback()))
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(mistake) = mistake {
            command.env("MENTAT_SYNC_MISTAKE", mistake);
        }
        // A system that cannot start a process says nothing about the server.
        let mut child = command
            .spawn()
            .map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))?;
        let out = child.stdout.take().expect("stdout is piped");
        let mut err = child.stderr.take().expect("stderr is piped");
        let complaints = std::thread::spawn(move || {
            let mut said = String::new();
            err.read_to_string(&mut said).map(|_| said)
        });
        let (sender, first_line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            let read = out.read_line(&mut line).map(|_| line);
            // Nobody waits for it any longer where it came too late.
            let _ = sender.send(read);
            // Whoever stops reading ends a server that writes.
            io::copy(&mut out, &mut io::sink())
        });
        let Ok(line) = first_line.recv_timeout(PATIENCE) else {
            child.kill().ok();
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it does not start in time",
            ));
        };
        let line = line?;
        let address = line
            .split_once(" at http://")
            .and_then(|(_, rest)| rest.split([' ', '/', ',']).next()?.trim().parse().ok());
        let Some(address) = address else {
            child.kill().ok();
            child.wait()?;
            let said = complaints.join().expect("reading a pipe")?;
            return Err(io::Error::other(format!("it does not start: {line}{said}")));
        };
        Ok(Self { child, address })
    }
}

/// A loopback address that is ours: at the port of a server that was killed, somebody else's of this box may
/// listen a moment later, and answer for it.
fn loopback() -> Ipv4Addr {
    static OURS: OnceLock<Ipv4Addr> = OnceLock::new();
    let any = || {
        Ipv4Addr::new(
            127,
            fastrand::u8(1..),
            fastrand::u8(..),
            fastrand::u8(1..255),
        )
    };
    *OURS.get_or_init(any)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the client noticed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
