//! Servers that a bench starts, on ports of their own, and ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// A server that runs; ended when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, log: PathBuf, address: Option<SocketAddr>) -> Result<Self> {
        let file = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut running = Self {
            child,
            address: address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            log,
        };
        let started = Instant::now();
        loop {
            if address.is_none()
                && let Some(said) = running.announced()
            {
                running.address = said;
            }
            if running.address.port() != 0 && TcpStream::connect(running.address).is_ok() {
                return Ok(running);
            }
            if let Some(status) = running.child.try_wait()? {
                bail!("{command:?} ended ({status}): {}", running.said());
            }
            ensure!(
                started.elapsed() < START,
                "{command:?} does not start: {}",
                running.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address in the first line that a server of ours says.
    fn announced(&self) -> Option<SocketAddr> {
        let said = self.said();
        let (_, address) = said.split_once("at http://")?;
        address.split_whitespace().next()?.parse().ok()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory it ever had, in KiB (VmHWM).
    pub fn peak_memory(&self) -> Result<u64> {
        peak_memory(self.child.id())
    }
}

/// The most memory that a process ever had, in KiB (VmHWM).
pub fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmHWM")?.parse()?)
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM, so that nginx and git end the processes they started.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has, for servers that cannot choose one themselves.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The server that all this is about. `level` is that of its log: without `info` there is no access log, as
/// with nginx.
pub fn mentat_sync(binary: &Path, data: &Path, level: &str, log: PathBuf) -> Result<Running> {
    let mut command = Command::new(binary);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .env("RUST_LOG", level);
    Running::start(command, log, None)
}

/// nginx as it serves files fastest without keeping them open: one worker a core, sendfile, no log.
pub fn nginx(binary: &Path, root: &Path, work: &Path) -> Result<Running> {
    let address = free_port()?;
    let (root, work) = (root.display(), work.display());
    let config = format!(
        "user root;\n\
         daemon off;\n\
         worker_processes auto;\n\
         pid {work}/nginx.pid;\n\
         error_log {work}/nginx.error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           access_log off;\n\
           sendfile on;\n\
           tcp_nopush on;\n\
           keepalive_requests 1000000000;\n\
           default_type application/octet-stream;\n\
           client_body_temp_path {work}/nginx.body;\n\
           proxy_temp_path {work}/nginx.proxy;\n\
           fastcgi_temp_path {work}/nginx.fastcgi;\n\
           uwsgi_temp_path {work}/nginx.uwsgi;\n\
           scgi_temp_path {work}/nginx.scgi;\n\
           server {{ listen {address}; root {root}; }}\n\
         }}\n"
    );
    let path = PathBuf::from(format!("{work}/nginx.conf"));
    fs::write(&path, config)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&path);
    Running::start(
        command,
        PathBuf::from(format!("{work}/nginx.log")),
        Some(address),
    )
}

/// rustic_server with neither users nor TLS, taking appends only. It wants a list of who may write
/// where; whoever gives no name may write to this repository.
pub fn rustic_server(
    binary: &Path,
    data: &Path,
    repository: &str,
    log: PathBuf,
) -> Result<Running> {
    let address = free_port()?;
    fs::create_dir_all(data)?;
    let list = format!("[{repository}]\n\"\" = \"Append\"\n");
    fs::write(data.join("acl.toml"), list)?;
    let mut command = Command::new(binary);
    command
        .args(["serve", "--no-auth", "--append-only"])
        .args(["--listen", &address.to_string(), "--path"])
        .arg(data)
        .env_remove("CI");
    Running::start(command, log, Some(address))
}

/// A server of TaskChampion's protocol over what is published of its own (scripts/bench-taskchampion.d).
pub fn taskchampion_peer(binary: &Path, data: &Path, log: PathBuf) -> Result<Running> {
    let address = free_port()?;
    let mut command = Command::new(binary);
    command.arg(address.to_string()).arg(data);
    Running::start(command, log, Some(address))
}

/// `git daemon` over the repositories in this directory, taking pushes too.
pub fn git_daemon(base: &Path, log: PathBuf) -> Result<Running> {
    let address = free_port()?;
    let mut command = Command::new("git");
    command
        .args([
            "daemon",
            "--reuseaddr",
            "--export-all",
            "--enable=receive-pack",
        ])
        .arg(format!("--listen={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .arg(format!("--base-path={}", base.display()))
        .arg(base);
    Running::start(command, log, Some(address))
}
