use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mentat_sync::model::limits;

use crate::documents::{OPERATIONS, README};
use crate::kit::{
    Device, ROOT, Server, address_in, binary, chunk, run_with_deadline, skipped, transaction_id,
    user_id,
};
use crate::readme::{WRITTEN_ADDRESS, clone_with_another_machine, has, run_shown, shown_in};

/// What `mentat-sync example NAME` prints.
fn example(name: &str) -> String {
    let printed = run_with_deadline(binary().args(["example", name]));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    printed.stdout
}

/// The files of a print that has several, each of which begins at a comment with its path.
fn files_of(text: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("# /etc/") {
            files.push((format!("/etc/{path}"), String::new()));
        }
        let (_, file) = files.last_mut().expect("the first line is a path");
        file.push_str(line);
        file.push('\n');
    }
    files
}

/// The value of a setting of a unit, which stands there once.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let mut all = (unit.lines()).filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = all
        .next()
        .unwrap_or_else(|| panic!("{name} is not in {unit}"));
    assert_eq!(all.next(), None, "{name}");
    value
}

/// These variables are ones that `serve` reads.
fn are_read<'a>(names: impl Iterator<Item = &'a str>) {
    let help = run_with_deadline(binary().args(["serve", "--help"])).stdout;
    let mut read = 0;
    for name in names {
        assert!(help.contains(&format!("[env: {name}=]")), "{name}");
        read += 1;
    }
    assert!(read > 1, "{read}");
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

/// The printed nginx before this server: with a certificate of its own, at a free port. What else nginx logs is in
/// `access` and `error`.
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
    let mut said = example("nginx");
    for (theirs, ours) in [
        ("listen 443 ", format!("listen {address} ")),
        // Not every machine has one.
        ("    listen [::]:443 ssl http2;\n", String::new()),
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
        "user root;\ndaemon off;\npid {here}/pid;\nerror_log {here}/error;\nevents {{}}\nhttp {{\naccess_log {here}/access;\n{temporary}{said}\n}}\n"
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
fn the_walk_through_works_through_the_printed_nginx_with_tls_and_no_log_of_it_has_an_id() {
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
    let user = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let address = format!("https://{address}/0.1/{user}/chunks/{digest}");
    let put = || {
        run_with_deadline(
            Command::new("curl")
                .args(["-s", "-k", "-w", "%{http_code} %{http_version}", "-T"])
                .arg(&large)
                .args(["-o", "/dev/null"])
                .arg(&address),
        )
    };
    assert_eq!(put().stdout, "201 2");
    // Without the server each request is an error to nginx.
    drop(server);
    assert_eq!(put().stdout, "502 2");
    for log in ["access", "error"] {
        let text = fs::read_to_string(own.path().join(log)).unwrap();
        assert!(!text.contains(user), "{log}: {text}");
    }
}

#[test]
fn the_printed_units_are_ones_that_systemd_takes_and_leave_time_to_stop() {
    let files = files_of(&example("systemd"));
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/sysusers.d/mentat-sync.conf",
            "/etc/tmpfiles.d/mentat-sync.conf",
            "/etc/systemd/system/mentat-sync.socket",
            "/etc/systemd/system/mentat-sync.service",
            "/etc/systemd/system/mentat-sync-backup.service",
            "/etc/systemd/system/mentat-sync-backup.timer",
        ]
    );
    let [users, directories, socket, service, backup] =
        [0, 1, 2, 3, 4].map(|at| files[at].1.as_str());
    // Nobody but this machine reaches it, and it is asked where the documents and the proxies say.
    assert_eq!(setting(socket, "ListenStream"), WRITTEN_ADDRESS);
    assert_eq!(setting(service, "Requires"), "mentat-sync.socket");
    assert_eq!(setting(service, "Type"), "notify");
    let wait = setting(service, "TimeoutStopSec").trim_end_matches('s');
    let wait: u64 = wait.parse().unwrap();
    assert!(wait > limits::SHUTDOWN.as_secs(), "{wait}");
    are_read(service.lines().filter_map(|line| {
        let variable = line.strip_prefix("Environment=")?;
        Some(variable.split_once('=').unwrap().0)
    }));
    // The data directory is the state directory, is mounted first, and belongs to who serves it.
    let data = "/var/lib/mentat-sync";
    assert_eq!(setting(service, "StateDirectory"), "mentat-sync");
    assert_eq!(setting(service, "RequiresMountsFor"), data);
    assert!(setting(service, "ExecStart").ends_with(&format!(" serve --data {data}")));
    // A disk that is not mounted never becomes an empty server; the README makes the store first.
    assert!(service.contains("\nEnvironment=MENTAT_SYNC_EXISTING=true\n"));
    let (made, started) = (
        format!("$ sudo mentat-sync users add --init --name phone --data {data}\n"),
        "$ sudo systemctl enable --now mentat-sync\n",
    );
    let at = |words: &str| README.text.find(words).unwrap();
    assert!(at(&made) < at(started));
    let user = setting(service, "User");
    assert_eq!(setting(backup, "User"), user);
    assert!(users.contains(&format!("\nu {user} ")), "{users}");
    setting(service, "RestartSec");
    // Only what the backup says that it writes can be written, and that is mounted first.
    let written = setting(backup, "ReadWritePaths");
    let copy = written.strip_prefix(&format!("{data} ")).unwrap();
    assert_eq!(setting(backup, "RequiresMountsFor"), written);
    for directory in [data, copy] {
        let line = format!("d {directory} 0700 {user} {user} -");
        assert!(directories.lines().any(|said| said == line), "{line}");
    }
    let command = format!(" backup --quiet --data {data} {copy}");
    assert!(setting(backup, "ExecStart").ends_with(&command));
    if !has(&["systemd-analyze"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for (path, text) in &files[2..] {
        let unit = directory.path().join(Path::new(path).file_name().unwrap());
        let program = binary().get_program().to_str().unwrap().to_owned();
        fs::write(&unit, text.replace("/usr/local/bin/mentat-sync", &program)).unwrap();
        units.push(unit);
    }
    let verified = run_with_deadline(Command::new("systemd-analyze").arg("verify").args(&units));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(!verified.stderr.contains("mentat-sync"), "{verified:?}");
    for unit in units
        .iter()
        .filter(|unit| unit.extension().unwrap() == "service")
    {
        // Exposed by at most 1.5 of 10: beyond the threshold the status is another.
        let judged = run_with_deadline(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=15"])
                .arg(unit),
        );
        assert_eq!(judged.code, Some(0), "{judged:?}");
    }
}

/// The system calls of a set of systemd, and of the sets within it.
fn calls_of(set: &str, into: &mut BTreeSet<String>) {
    let listed = run_with_deadline(Command::new("systemd-analyze").args(["syscall-filter", set]));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for line in listed.stdout.lines().map(str::trim) {
        if line.starts_with('@') && line != set {
            calls_of(line, into);
        } else if !line.is_empty() && !line.starts_with(['#', '@']) {
            into.insert(line.to_owned());
        }
    }
}

/// A server under strace, which is stopped as a service is when this goes.
struct Traced {
    strace: Child,
    server: rustix::process::Pid,
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.server, rustix::process::Signal::TERM);
        let _ = self.strace.wait();
    }
}

/// A server on `data` in this directory, with all of its system calls in the file `trace`.
fn traced(directory: &Path, trace: &Path) -> (Traced, SocketAddr) {
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(trace)
        .arg(binary().get_program())
        .args(["serve", "--listen", "127.0.0.1:0", "--gc-every", "1s"])
        .arg("--data")
        .arg(directory.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(strace.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let server: i32 = fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let server = rustix::process::Pid::from_raw(server).unwrap();
    let traced = Traced { strace, server };
    let address = address_in(said.trim()).unwrap_or_else(|| panic!("{said:?}"));
    (traced, address)
}

#[test]
fn the_printed_unit_allows_each_system_call_that_the_server_makes() {
    if !has(&["systemd-analyze", "strace"]) {
        return;
    }
    let (mut allowed, mut denied) = (BTreeSet::new(), BTreeSet::new());
    calls_of("@default", &mut allowed);
    let files = files_of(&example("systemd"));
    for line in files[3].1.lines() {
        let Some(sets) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        match sets.strip_prefix('~') {
            Some(sets) => sets.split(' ').for_each(|set| calls_of(set, &mut denied)),
            None => sets.split(' ').for_each(|set| calls_of(set, &mut allowed)),
        }
    }
    assert!(allowed.len() > 200 && denied.len() > 30);
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let (traced, address) = traced(directory.path(), &trace);
    let mut device = Device::new(address, &user_id("ada"));
    let milk = chunk("milk");
    device.put_chunk(&milk).expect(201);
    let id = transaction_id("1");
    device.put_transaction(&id, ROOT, &[&milk.id]).expect(201);
    device.put_head(&id).expect(204);
    assert_eq!(device.head().1, 1);
    // Once more, for gc.
    std::thread::sleep(Duration::from_secs(2));
    drop(traced);
    let mut made = BTreeSet::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let name = call.split('(').next().unwrap();
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            made.insert(name.to_owned());
        }
    }
    assert!(
        made.contains("fsync") || made.contains("fdatasync"),
        "{made:?}"
    );
    let refused: Vec<_> = made
        .iter()
        .filter(|call| !allowed.contains(*call) || denied.contains(*call))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn each_proxy_takes_the_text_that_is_printed_for_it() {
    if !has(&["caddy", "haproxy", "openssl"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Caddyfile");
    fs::write(&file, example("caddy")).unwrap();
    let taken = run_with_deadline(
        Command::new("caddy")
            .args(["adapt", "--validate", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .env("HOME", directory.path())
            .env_remove("XDG_DATA_HOME"),
    );
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(!taken.stderr.contains("\"level\":\"warn\""), "{taken:?}");
    let certificate = run_with_deadline(
        Command::new("openssl")
            .args("req -x509 -newkey rsa:2048 -nodes -subj /CN=sync.example.org".split(' '))
            .args(["-out", "both.pem", "-keyout", "both.pem.key"])
            .current_dir(directory.path()),
    );
    assert_eq!(certificate.code, Some(0), "{certificate:?}");
    let both = directory.path().join("both.pem");
    let text = example("haproxy");
    let theirs = "/etc/ssl/sync.example.org.both.pem";
    assert!(text.contains(theirs));
    let file = directory.path().join("haproxy.cfg");
    fs::write(&file, text.replace(theirs, both.to_str().unwrap())).unwrap();
    // Beside what Debian's own file has above it.
    let above = directory.path().join("above.cfg");
    fs::write(
        &above,
        "global\n    log /dev/log local0\ndefaults\n    log global\n    option httplog\n    timeout connect 5000\n    timeout client 50000\n    timeout server 50000\n",
    )
    .unwrap();
    let taken = run_with_deadline(
        Command::new("haproxy")
            .arg("-c")
            .arg("-f")
            .arg(&above)
            .arg("-f")
            .arg(&file),
    );
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(!taken.stderr.contains("[WARNING]"), "{taken:?}");
}

#[test]
fn the_printed_files_are_written_by_the_one_line_that_the_help_and_the_page_show() {
    if !has(&["awk"]) {
        return;
    }
    let line = r"awk '/^# \/etc\//{f=$2} {print > f}'";
    assert!(OPERATIONS.text.contains(&line.replace("awk", "sudo awk")));
    let help = run_with_deadline(binary().args(["example", "--help"])).stdout;
    let in_one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        in_one_line.contains(&format!("mentat-sync example systemd | {line}")),
        "{help}"
    );
    let top = tempfile::tempdir().unwrap();
    let etc = top.path().join("etc");
    fs::create_dir_all(etc.join("sysusers.d")).unwrap();
    fs::create_dir_all(etc.join("tmpfiles.d")).unwrap();
    fs::create_dir_all(etc.join("systemd/system")).unwrap();
    let text = top.path().join("text");
    fs::write(&text, example("systemd")).unwrap();
    // As written, but for the directory.
    let line = line.replace("f=$2", "f=top $2");
    let wrote = run_with_deadline(
        Command::new("sh")
            .args([
                "-c",
                &format!(
                    "exec <\"$0/text\"; {}",
                    line.replace("awk", "awk -v top=\"$0\"")
                ),
            ])
            .arg(top.path()),
    );
    assert_eq!(wrote.code, Some(0), "{wrote:?}");
    for (path, text) in files_of(&example("systemd")) {
        let written = top.path().join(path.trim_start_matches('/'));
        assert_eq!(fs::read_to_string(written).unwrap(), text, "{path}");
    }
}

#[test]
fn each_printed_proxy_waits_longer_than_a_client_may_wait_for_head() {
    for (name, before) in [
        ("nginx", vec!["proxy_read_timeout "]),
        ("caddy", vec!["response_header_timeout "]),
        ("haproxy", vec!["timeout client ", "timeout server "]),
        ("shards", vec!["proxy_read_timeout "]),
        ("shards-haproxy", vec!["timeout client ", "timeout server "]),
    ] {
        let text = example(name);
        for before in before {
            let (_, value) = text
                .split_once(before)
                .unwrap_or_else(|| panic!("{before}"));
            let seconds: u64 = value.split_once('s').unwrap().0.parse().unwrap();
            assert!(
                seconds > limits::LONGEST_WAIT.as_secs(),
                "{name}: {before}{seconds}"
            );
        }
    }
}

#[test]
fn the_printed_compose_file_is_one_and_says_only_what_the_server_reads() {
    let text = example("compose");
    are_read(text.lines().filter_map(|line| {
        let line = line.trim();
        line.starts_with("MENTAT_SYNC_")
            .then(|| line.split(':').next().unwrap())
    }));
    if !has(&["python3"]) {
        return;
    }
    let read = run_with_deadline(Command::new("python3").args([
        "-c",
        "import json, sys\ntry:\n    import yaml\nexcept ImportError:\n    sys.exit(9)\nprint(json.dumps(yaml.safe_load(sys.argv[1])))",
        &text,
    ]));
    if read.code == Some(9) {
        return skipped("the compose file is YAML", "python3 has no yaml");
    }
    assert_eq!(read.code, Some(0), "{read:?}");
    let read: serde_json::Value = serde_json::from_str(&read.stdout).unwrap();
    let service = &read["services"]["mentat-sync"];
    let grace = service["stop_grace_period"]
        .as_str()
        .unwrap()
        .trim_end_matches('s');
    assert!(grace.parse::<u64>().unwrap() > limits::SHUTDOWN.as_secs());
    // What stands before a container is this machine alone, and the data outlives the container.
    for port in service["ports"].as_array().unwrap() {
        assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port}");
    }
    let volumes = service["volumes"].as_array().unwrap();
    let data = &service["environment"]["MENTAT_SYNC_DATA"];
    assert!(
        volumes.iter().any(|volume| volume["target"] == *data),
        "{data}"
    );
    for volume in volumes {
        assert_eq!(volume["bind"]["create_host_path"], false, "{volume}");
    }
    let program = service["command"][0].as_str().unwrap();
    assert!(
        volumes.iter().any(|volume| volume["target"] == program),
        "{program}"
    );
}

#[test]
fn the_image_says_what_the_server_reads_and_its_check_knows_up_from_down() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/Containerfile");
    let text = fs::read_to_string(file).unwrap();
    are_read(text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("ENV ")?.split_once('=')?;
        Some(name)
    }));
    // Nobody is root in it.
    let user = text.lines().find_map(|line| line.strip_prefix("USER "));
    assert!(user.is_some_and(|user| !user.starts_with('0')), "{user:?}");
    let (_, check) = text.split_once("HEALTHCHECK ").unwrap();
    let (_, check) = check.split_once(" CMD ").unwrap();
    let check: Vec<String> = serde_json::from_str(check.lines().next().unwrap()).unwrap();
    let server = Server::on(Arc::new(tempfile::tempdir().unwrap()), &[]);
    let address = server.address().to_string();
    let run = || {
        let words = check[1..]
            .iter()
            .map(|word| word.replace("127.0.0.1:8000", &address));
        run_with_deadline(binary().args(words)).code
    };
    assert_eq!(check[0], "mentat-sync");
    assert!(check.iter().any(|word| word.contains("127.0.0.1:8000")));
    assert_eq!(run(), Some(0));
    drop(server);
    assert_eq!(run(), Some(1));
}

#[test]
fn the_printed_lines_of_cron_do_what_they_say_under_the_path_that_they_set() {
    if !has(&["rsync", "bash"]) {
        return;
    }
    let text = example("cron");
    let mut tables = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let directory = tempfile::tempdir().unwrap();
    let top = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&top), &[]);
    let mut device = Device::new(server.address(), &user_id("ada"));
    let id = transaction_id("1");
    device.put_transaction(&id, ROOT, &[]).expect(201);
    device.put_head(&id).expect(204);
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary().get_program(), bin.join("mentat-sync")).unwrap();
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("PATH="))
        .unwrap();
    let path = path.replace("/usr/local/bin", bin.to_str().unwrap());
    let copy = directory.path().join("copy");
    for expected in ["", "checked 1 user"] {
        let line = tables.next().unwrap();
        let fields: Vec<&str> = line.splitn(7, ' ').collect();
        let [minute, hour, _, _, day, user, command] = fields[..] else {
            panic!("{line}");
        };
        assert!(minute.parse::<u8>().unwrap() < 60 && hour.parse::<u8>().unwrap() < 24);
        assert!(["*", "0"].contains(&day), "{day}");
        assert_eq!(user, "mentat-sync");
        let command = command
            .replace("/var/lib/mentat-sync", server.data().to_str().unwrap())
            .replace("/var/backups/mentat-sync", copy.to_str().unwrap());
        let ran = run_with_deadline(
            Command::new("/bin/sh")
                .args(["-c", &command])
                .current_dir("/")
                .env_clear()
                .env("PATH", &path),
        );
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(expected), "{said}");
        // Cron sends a mail of whatever is printed.
        assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
    }
    assert_eq!(tables.next(), None);
    assert!(copy.join("FORMAT").exists());
}

#[test]
fn each_text_is_printed_as_it_stands_and_begins_with_where_it_goes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/examples");
    let help = run_with_deadline(binary().args(["example", "--help"])).stdout;
    let mut printed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = example(name);
        assert_eq!(text, fs::read_to_string(&path).unwrap());
        assert!(
            text.starts_with("# /etc/") || text.starts_with("# compose.yaml"),
            "{text}"
        );
        assert!(help.contains(name), "{help}");
        printed += 1;
    }
    assert_eq!(printed, 8);
    let wrong = run_with_deadline(binary().args(["example", "lighttpd"]));
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("haproxy"), "{wrong:?}");
}
