use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::kit::{
    Client, ROOT, Server, binary, chunk, digest, run_with_deadline, skipped, transaction_id,
    transaction_json, user_id,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a certificate for this machine and its key, made by openssl.
struct Pair {
    folder: TempDir,
}

impl Pair {
    /// `None` where there is no openssl, which is said.
    fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        make_pair(folder.path(), "one").then_some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The flags that name these files.
    fn flags(&self, certificate: &str, key: &str) -> [String; 4] {
        [
            "--tls-cert".to_owned(),
            self.text(certificate),
            "--tls-key".to_owned(),
            self.text(key),
        ]
    }

    fn server(&self, more: &[&str]) -> Server {
        let own = self.flags("one.pem", "one.key");
        let flags: Vec<&str> = own
            .iter()
            .map(String::as_str)
            .chain(more.to_vec())
            .collect();
        Server::with(&flags)
    }

    /// Puts other contents under this name, as a program does that renames what it has written.
    fn replace(&self, name: &str, with: &str) {
        let aside = self.path("aside");
        fs::copy(self.path(with), &aside).unwrap();
        fs::rename(aside, self.path(name)).unwrap();
    }
}

/// Makes `NAME.pem` and `NAME.key`; says whether it could.
fn make_pair(folder: &Path, name: &str) -> bool {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .output();
    match made {
        Ok(made) if made.status.success() => true,
        other => {
            skipped("TLS", format!("openssl makes no certificate: {other:?}"));
            false
        }
    }
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts this certificate alone.
fn connect(address: SocketAddr, trusted: &Path) -> io::Result<Secured> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(trusted).unwrap())
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut secured = StreamOwned::new(session, stream);
    secured.conn.complete_io(&mut secured.sock)?;
    Ok(secured)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// All that is answered to this request, up to the end that TLS knows of.
fn ask(address: SocketAddr, trusted: &Path, path: &str) -> io::Result<String> {
    let mut stream = connect(address, trusted)?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What comes on a plain connection until it ends, however that is.
fn until_the_end(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.read_to_end(&mut got);
    got
}

fn curl(pair: &Pair, args: &[&str]) -> Output {
    let trusted = pair.text("one.pem");
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &trusted, "--max-time", "120"])
        .args(args)
        .output()
        .expect("curl runs");
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

fn client_of_openssl(address: SocketAddr, args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn all_that_can_be_asked_can_be_asked_through_tls() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    server.has_said(|line| line.contains(" at https://127.0.0.1:"));
    let user = format!(
        "https://localhost:{}/0.1/{}",
        server.address().port(),
        user_id("ada")
    );
    // Longer than whatever is kept back anywhere, and of no length that anything likes.
    let bytes: Vec<u8> = (0..(100 << 20) + 12_345_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let (whole, id) = (pair.path("whole"), digest(&bytes));
    fs::write(&whole, &bytes).unwrap();
    let url = format!("{user}/chunks/{id}");
    let whole = whole.display().to_string();
    let put = curl(
        &pair,
        &["-T", &whole, "-w", "%{http_code} %{http_version}", &url],
    );
    assert_eq!(String::from_utf8(put.stdout).unwrap(), "201 1.1");
    assert!(
        curl(&pair, &[&url]).stdout == bytes,
        "other bytes come back"
    );
    let part = curl(&pair, &["-r", "1000000-1000999", &url]).stdout;
    assert!(part == bytes[1_000_000..1_001_000]);
    let first = transaction_id("first");
    for (path, body) in [
        (
            format!("{user}/transactions/{first}"),
            transaction_json(ROOT, &[&id]),
        ),
        (format!("{user}/head"), format!("{{\"head\":\"{first}\"}}")),
    ] {
        curl(&pair, &["-f", "-X", "PUT", "-d", &body, &path]);
    }
    let bundle = curl(&pair, &["-f", &format!("{user}/bundle")]).stdout;
    assert!(
        bundle
            .windows(first.len())
            .any(|window| window == first.as_bytes())
    );
    assert!(bundle.len() > bytes.len());
    let wait = [
        "-w",
        "%{http_code}",
        "-H",
        &format!("If-None-Match: \"{first}\""),
        &format!("{user}/head?wait=1"),
    ];
    assert_eq!(String::from_utf8(curl(&pair, &wait).stdout).unwrap(), "304");
    let mut events = connect(server.address(), &pair.path("one.pem")).unwrap();
    let path = format!("/0.1/{}/events", user_id("ada"));
    events.write_all(request(&path).as_bytes()).unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(&format!("id: {first}")) {
        let mut some = [0; 1024];
        let length = events.read(&mut some).unwrap();
        assert!(length > 0, "{got:?}");
        got.extend_from_slice(&some[..length]);
    }
    // A page that came by https is the server's own.
    let origin = format!("Origin: https://localhost:{}", server.address().port());
    curl(&pair, &["-f", "-H", &origin, &format!("{user}/head")]);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn versions_and_protocols_are_agreed_upon_with_openssl() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    for (args, agreed) in [
        (&["-tls1_2"][..], "Protocol  : TLSv1.2"),
        (&["-tls1_3"], "TLSv1.3"),
        (&["-noservername"], "TLSv1.3"),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1"),
    ] {
        let said = client_of_openssl(server.address(), args);
        assert!(said.contains(agreed), "{args:?}: {said}");
        assert!(
            said.contains("CN = localhost") || said.contains("CN=localhost"),
            "{said}"
        );
    }
    let said = client_of_openssl(server.address(), &["-alpn", "h2"]);
    assert!(said.contains("no application protocol"), "{said}");
    let said = client_of_openssl(server.address(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(said.contains("alert"), "{said}");
}

#[test]
fn whoever_asks_in_the_clear_is_told_so() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    let mut client = Client::new(server.address());
    let answer = client.get("/").expect_refusal(400, "malformed-request");
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let head = Client::new(server.address()).request("HEAD", "/", &[], None);
    assert_eq!((head.status, head.body.len()), (400, 0));
    // What is neither ends, and the next one is served.
    for garbage in [
        &b"\x00\x01\x02\x03"[..],
        b"\x16\x03\x01\x00\x02\xff\xff",
        b"\x80\x2e\x01",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(!until_the_end(stream).starts_with(b"HTTP"));
    }
    let answer = ask(server.address(), &pair.path("one.pem"), "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_handshake_and_a_head_come_to_their_end_in_time() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&["--head-timeout", "1s"]);
    for said in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(said).unwrap();
        let started = Instant::now();
        assert_eq!(until_the_end(stream), b"", "{said:?}");
        let taken = started.elapsed();
        assert!(
            taken > Duration::from_millis(800) && taken < PATIENCE / 4,
            "{taken:?}"
        );
    }
    let mut slow = connect(server.address(), &pair.path("one.pem")).unwrap();
    slow.write_all(b"GET / HT").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_through_tls_is_let_go() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&["--body-timeout", "1s"]);
    let large = chunk(vec![7; 32 << 20]);
    let path = format!("/0.1/{}/chunks/{}", user_id("ada"), large.id);
    let mut stream = connect(server.address(), &pair.path("one.pem")).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        large.bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&large.bytes).unwrap();
    let mut some = [0; 64];
    let length = stream.read(&mut some).unwrap();
    assert!(some[..length].starts_with(b"HTTP/1.1 201 "));
    let mut takes_nothing = connect(server.address(), &pair.path("one.pem")).unwrap();
    let since = Instant::now();
    takes_nothing.write_all(request(&path).as_bytes()).unwrap();
    server.has_said(|line| line.contains("broken off"));
    assert!(since.elapsed() > Duration::from_millis(900));
    // It is let go without a word, which never looks like an end.
    assert!(takes_nothing.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn many_handshakes_and_broken_ones_leave_nothing_behind() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    let trusted = pair.path("one.pem");
    let ask_some = |count| {
        for number in 0..count {
            match number % 4 {
                0 => drop(TcpStream::connect(server.address()).unwrap()),
                1 => {
                    let mut stream = TcpStream::connect(server.address()).unwrap();
                    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
                }
                2 => drop(connect(server.address(), &trusted).unwrap()),
                _ => drop(ask(server.address(), &trusted, "/__version__").unwrap()),
            }
        }
    };
    ask_some(20);
    std::thread::sleep(Duration::from_millis(200));
    let before = server.descriptors();
    ask_some(1000);
    let deadline = Instant::now() + PATIENCE;
    while server.descriptors() > before + 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        server.descriptors() <= before + 2,
        "{} after {before}",
        server.descriptors()
    );
}

#[test]
fn a_client_that_has_said_all_is_answered_and_the_end_is_said() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    let wait = format!("/0.1/{}/head?wait=2", user_id("ada"));
    let head =
        format!("GET {wait} HTTP/1.1\r\nhost: localhost\r\nif-none-match: \"{ROOT}\"\r\n\r\n");
    for (says_so, closes) in [(true, false), (true, true), (false, true)] {
        let mut stream = connect(server.address(), &pair.path("one.pem")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        if says_so {
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock).ok();
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut stream.sock).unwrap();
            }
        }
        if closes {
            stream.sock.shutdown(Shutdown::Write).unwrap();
        }
        // An end that TLS does not know of would be an error here.
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 304 "),
            "{says_so} {closes}: {answer}"
        );
    }
}

#[test]
fn one_address_has_its_part_of_the_connections_through_tls_as_well() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&["--max-connections", "16"]);
    // Some in the middle of the handshake, of which each is a connection.
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00").unwrap();
        held.push(stream);
    }
    std::thread::sleep(Duration::from_millis(300));
    let answer = ask(server.address(), &pair.path("one.pem"), "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\"busy\""), "{answer}");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while !(ask(server.address(), &pair.path("one.pem"), "/"))
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    {
        assert!(Instant::now() < deadline, "nobody is let in again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_stops_answers_what_is_in_flight_through_tls_and_ends_idle_connections() {
    let Some(pair) = Pair::make() else { return };
    let mut server = pair.server(&[]);
    let trusted = pair.path("one.pem");
    let milk = chunk("milk");
    let mut slow = connect(server.address(), &trusted).unwrap();
    let head = format!(
        "PUT /0.1/{}/chunks/{} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nmi",
        user_id("ada"),
        milk.id
    );
    slow.write_all(head.as_bytes()).unwrap();
    let mut idle = connect(server.address(), &trusted).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut some = [0; 64];
    assert!(idle.read(&mut some).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(200));
    server.terminate();
    let started = Instant::now();
    idle.read_to_end(&mut Vec::new()).unwrap();
    assert!(started.elapsed() < PATIENCE / 4, "{:?}", started.elapsed());
    slow.write_all(b"lk").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_pair_that_cannot_be_used_is_said_at_the_start() {
    let Some(pair) = Pair::make() else { return };
    assert!(make_pair(pair.folder.path(), "two"));
    fs::write(pair.path("empty"), "").unwrap();
    fs::write(pair.path("broken"), "-----BEGIN CERTIFICATE-----\nx\n").unwrap();
    let locked = Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-passout",
            "pass:x",
            "-in",
            &pair.text("one.key"),
        ])
        .args(["-out", &pair.text("locked")])
        .output()
        .unwrap();
    assert!(locked.status.success(), "{locked:?}");
    let data = pair.path("data");
    for (certificate, key, words) in [
        ("one.pem", "two.key", "KeyMismatch"),
        ("absent", "one.key", "absent"),
        ("one.pem", "absent", "absent"),
        ("empty", "one.key", "no certificate in"),
        ("one.key", "one.key", "no certificate in"),
        ("broken", "one.key", "no certificate in"),
        ("one.pem", "one.pem", "no private key in"),
        ("one.pem", "empty", "no private key in"),
        ("one.pem", "locked", "passphrase"),
        (".", "one.key", "it is no file"),
    ] {
        let mut command = binary();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data);
        command.args(pair.flags(certificate, key));
        let finished = run_with_deadline(&mut command);
        assert_eq!(finished.code, Some(1), "{certificate} {key}: {finished:?}");
        assert!(finished.stderr.contains("cannot speak TLS"), "{finished:?}");
        assert!(
            finished.stderr.contains(words),
            "{certificate} {key}: {finished:?}"
        );
        assert!(!data.exists());
    }
    for flag in ["--tls-cert", "--tls-key"] {
        let finished = run_with_deadline(binary().args(["serve", flag, "x"]));
        assert_eq!(finished.code, Some(2), "{finished:?}");
    }
}

/// Waits until the server shows the certificate in this file.
fn shows(address: SocketAddr, trusted: &Path, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while ask(address, trusted, "/__version__").is_err() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

#[test]
fn another_pair_is_taken_and_a_bad_one_is_not_while_nobody_notices() {
    let Some(pair) = Pair::make() else { return };
    assert!(make_pair(pair.folder.path(), "two"));
    for (link, to) in [("cert.pem", "one.pem"), ("cert.key", "one.key")] {
        std::os::unix::fs::symlink(to, pair.path(link)).unwrap();
    }
    let flags = pair.flags("cert.pem", "cert.key");
    let server = Server::with(&flags.each_ref().map(String::as_str));
    let address = server.address();
    let (one, two) = (pair.path("one.pem"), pair.path("two.pem"));
    let (end, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    // Whichever it shows, each connection is served.
                    let answer = [&one, &two].map(|trusted| ask(address, trusted, "/__version__"));
                    assert!(answer.iter().any(Result::is_ok), "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let changes = || {
            let mut kept = connect(address, &one).unwrap();
            // A bad one: it is named, and the one before stays.
            pair.replace("one.key", "two.key");
            server.signal(Signal::HUP);
            let said = server.has_said(|line| line.contains("the certificate before stays in use"));
            assert!(
                said.contains("cert.pem") && said.contains("KeyMismatch"),
                "{said}"
            );
            assert!(shows(address, &one, PATIENCE));
            // Links that lead elsewhere now, as certbot has it, and a word.
            for (link, to) in [("cert.pem", "two.pem"), ("cert.key", "two.key")] {
                std::os::unix::fs::symlink(to, pair.path("aside")).unwrap();
                fs::rename(pair.path("aside"), pair.path(link)).unwrap();
            }
            server.signal(Signal::HUP);
            assert!(shows(address, &two, PATIENCE));
            assert!(ask(address, &one, "/").is_err());
            // A connection of before goes on.
            kept.write_all(request("/").as_bytes()).unwrap();
            let mut answer = String::new();
            kept.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            server.signal(Signal::HUP);
            server.has_said(|line| line.contains("is the same"));
        };
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(changes));
        end.store(true, Ordering::Relaxed);
        if let Err(panic) = changed {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[test]
fn another_pair_is_seen_by_itself_and_trouble_that_stays_is_said_once() {
    let Some(pair) = Pair::make() else { return };
    assert!(make_pair(pair.folder.path(), "two"));
    let one = pair.path("first.pem");
    fs::copy(pair.path("one.pem"), &one).unwrap();
    let server = pair.server(&[]);
    pair.replace("one.key", "two.key");
    let started = Instant::now();
    server.has_said(|line| line.contains("the certificate before stays in use"));
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    assert!(shows(server.address(), &one, PATIENCE));
    pair.replace("one.pem", "two.pem");
    assert!(shows(
        server.address(),
        &pair.path("two.pem"),
        Duration::from_secs(30)
    ));
    let said = server.said();
    let trouble = said.iter().filter(|line| line.contains("stays in use"));
    assert_eq!(trouble.count(), 1, "{said:?}");
}

#[test]
fn health_asks_by_tls_whatever_the_certificate_is() {
    let Some(pair) = Pair::make() else { return };
    let server = pair.server(&[]);
    let data = server.data().display().to_string();
    let secured = format!("https://{}", server.address());
    let clear = format!("http://{}", server.address());
    let health =
        |arguments: &[&str]| run_with_deadline(binary().arg("health").args(arguments)).code;
    assert_eq!(health(&["--data", &data]), Some(0));
    assert_eq!(health(&["--url", &secured]), Some(0));
    // What is not asked in its own way says nothing of being well.
    assert_eq!(health(&["--url", &clear]), Some(1));
    // Whoever takes the connection and says nothing is not up.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("https://{}", mute.local_addr().unwrap());
    assert_eq!(health(&["--url", &mute]), Some(1));
    drop(server);
    assert_eq!(health(&["--url", &secured]), Some(1));
}
