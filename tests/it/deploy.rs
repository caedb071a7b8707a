use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mentat_sync::model::limits;

use crate::documents::README;
use crate::kit::{Server, binary, run_with_deadline};
use crate::readme::{WRITTEN_ADDRESS, clone_with_another_machine, has, run_shown, shown_in};

/// The README's block in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = (README.text)
        .split_once(&format!("\n```{language}\n"))
        .expect("the README has such a block");
    rest.split_once("\n```").expect("a block ends").0
}

/// An nginx that is stopped when this goes.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = self.0.id().cast_signed();
        let pid = rustix::process::Pid::from_raw(pid).expect("a child has a number");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The README's nginx before this server: with a certificate of its own, at a free port.
fn proxy(directory: &Path, server: SocketAddr) -> (Proxy, SocketAddr) {
    let certificate = run_with_deadline(
        Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -subj /CN=sync.example.org".split(' '))
            .args([
                "-out",
                "sync.example.org.pem",
                "-keyout",
                "sync.example.org.key",
            ])
            .current_dir(directory),
    );
    assert_eq!(certificate.code, Some(0), "{certificate:?}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let here = directory.display().to_string();
    let written = block("nginx");
    let mut said = written.to_owned();
    for (theirs, ours) in [
        ("listen 443 ", format!("listen {address} ")),
        ("/etc/ssl/", format!("{here}/")),
        (WRITTEN_ADDRESS, server.to_string()),
    ] {
        assert!(said.contains(theirs), "{theirs}");
        said = said.replace(theirs, &ours);
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {here}/{what};\n"))
        .collect();
    let whole = format!(
        "user root;\ndaemon off;\npid {here}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{temporary}{said}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, whole).unwrap();
    let nginx = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let proxy = Proxy(nginx);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (proxy, address)
}

#[test]
fn the_walk_through_works_through_the_readmes_nginx_with_tls() {
    if !has(&["nginx", "openssl", "bash", "curl", "jq", "rsync"]) {
        return;
    }
    let top = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&top), &[]);
    clone_with_another_machine(top.path());
    let own = tempfile::tempdir().unwrap();
    let (_proxy, address) = proxy(own.path(), server.address());
    let (mut shown, _) = shown_in(README.text);
    shown.remove(0);
    for one in &mut shown {
        // The certificate is nobody's.
        one.command = one
            .command
            .replace("http://", "https://")
            .replace("curl -s", "curl -s -k");
    }
    run_shown(&shown, top.path(), &address.to_string());
    // A chunk that is larger than what nginx takes without being told.
    let large = top.path().join("large");
    fs::write(&large, vec![7; 3 << 20]).unwrap();
    let digest = crate::kit::digest(&fs::read(&large).unwrap());
    let address =
        format!("https://{address}/0.1/67e55044-10b1-426f-9247-bb680e5fe0c8/chunks/{digest}");
    let put = run_with_deadline(
        Command::new("curl")
            .args(["-s", "-k", "-w", "%{http_code} %{http_version}", "-T"])
            .arg(&large)
            .arg(address),
    );
    assert_eq!(put.stdout, "201 2", "{put:?}");
}

#[test]
fn the_readmes_unit_is_one_that_systemd_takes_and_leaves_time_to_stop() {
    let unit = block("ini");
    let wait = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let wait: u64 = wait.unwrap().parse().unwrap();
    assert!(wait > limits::SHUTDOWN.as_secs(), "{wait}");
    let help = run_with_deadline(binary().args(["serve", "--help"])).stdout;
    let settings = unit
        .lines()
        .find_map(|line| line.strip_prefix("Environment="));
    for setting in settings.unwrap().split(' ') {
        let (name, _) = setting.split_once('=').unwrap();
        assert!(help.contains(&format!("[env: {name}=]")), "{name}");
    }
    if !has(&["systemd-analyze"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mentat-sync.service");
    let installed = "/usr/local/bin/mentat-sync";
    assert!(unit.contains(installed));
    let program = binary().get_program().to_str().unwrap().to_owned();
    fs::write(&file, unit.replace(installed, &program)).unwrap();
    let verified = run_with_deadline(Command::new("systemd-analyze").arg("verify").arg(&file));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        !verified.stderr.contains("mentat-sync.service"),
        "{verified:?}"
    );
}
