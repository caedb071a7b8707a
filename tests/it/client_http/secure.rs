use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use mentat_sync::client::{HttpOptions, HttpRemote, Proxies, Remote, Unreached};
use mentat_sync::model::Head;
use tempfile::TempDir;

use super::wire::Tunnels;
use super::{InMemory, options, remote_at, unreached, user};
use crate::kit::{Server, skipped, user_id};

/// A folder with an authority of its own, and a certificate that it gave to this machine.
struct Authority(TempDir);

impl Authority {
    /// `None` where there is no openssl, which is said.
    fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = "set -e
            curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $curve -days 2 -subj /CN=$(basename $PWD) -keyout ca.key -out ca.pem
            openssl req $curve -subj /CN=localhost -keyout own.key -out own.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
            openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -days 2 -extfile names -out own.pem";
        let made = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder.path())
            .output();
        match made {
            Ok(made) if made.status.success() => Some(Self(folder)),
            other => {
                skipped(
                    "TLS of a client",
                    format!("openssl makes no certificate: {other:?}"),
                );
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn server(&self) -> Server {
        let [certificate, key] =
            ["own.pem", "own.key"].map(|name| self.path(name).display().to_string());
        Server::with(&["--tls-cert", &certificate, "--tls-key", &key])
    }
}

fn trusting(authorities: &Path) -> HttpOptions {
    HttpOptions {
        authorities: Some(authorities.to_owned()),
        ..options()
    }
}

fn at(scheme: &str, address: SocketAddr, options: HttpOptions) -> HttpRemote {
    remote_at(
        &format!("{scheme}://localhost:{}", address.port()),
        "ann",
        options,
    )
}

#[test]
fn tls_is_with_the_authority_of_a_file_and_nobody_else() {
    let (Some(ours), Some(other)) = (Authority::make(), Authority::make()) else {
        return;
    };
    let server = ours.server();
    let address = server.address();
    let remote = at("https", address, trusting(&ours.path("ca.pem")));
    assert_eq!(remote.head().unwrap(), Head::ROOT);
    let pushed = remote.push_bundle(&InMemory::of(vec![0; 1024]));
    assert!(pushed.is_ok(), "{pushed:?}");
    let tls = |options| {
        let outcome = at("https", address, options).head();
        let why = unreached(&outcome);
        assert!(matches!(why, Unreached::Tls { .. }), "{why:?}");
        why.to_string()
    };
    let words = tls(trusting(&other.path("ca.pem")));
    assert!(words.contains("does not trust"), "{words}");
    // The name is looked at as well: this certificate is for localhost and 127.0.0.1.
    let by_another_name = format!("https://127.0.0.2:{}", address.port());
    let outcome = remote_at(&by_another_name, "ann", trusting(&ours.path("ca.pem"))).head();
    // Nobody listens there, unless it was for all of loopback.
    assert!(outcome.is_err());
}

#[test]
fn a_file_of_authorities_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for contents in [
        None,
        Some(""),
        Some("no PEM"),
        Some("-----BEGIN CERTIFICATE-----\n!"),
    ] {
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let url = "https://localhost".parse().unwrap();
        let made = HttpRemote::new(&url, user("ann"), trusting(&path));
        let why = made.map(|_| ());
        assert!(
            matches!(unreached(&why), Unreached::Tls { .. }),
            "{contents:?}"
        );
    }
}

#[test]
fn tls_and_none_are_not_mixed_up() {
    let Some(authority) = Authority::make() else {
        return;
    };
    let (plain, secured) = (Server::start(), authority.server());
    let trusts = || trusting(&authority.path("ca.pem"));
    let outcome = at("https", plain.address(), trusts()).head();
    let why = unreached(&outcome);
    assert!(matches!(why, Unreached::Tls { .. }), "{why:?}");
    assert!(at("http", secured.address(), trusts()).head().is_err());
}

/// In the other process, of which this test is the whole: asks the server that the parent names.
fn asked_by_parent() -> bool {
    let Ok(url) = std::env::var("CLIENT_HTTP_URL") else {
        return false;
    };
    let options = HttpOptions {
        proxies: Proxies::of_environment(),
        ..options()
    };
    match remote_at(&url, "ann", options).head() {
        Ok(head) => println!("head {}", head.seq),
        Err(error) => println!("error {error}"),
    }
    true
}

#[test]
fn the_systems_authorities_and_proxies_are_those_of_the_environment() {
    if asked_by_parent() {
        return;
    }
    let Some(authority) = Authority::make() else {
        return;
    };
    let server = authority.server();
    let url = format!("https://localhost:{}", server.address().port());
    let ask = |variables: &[(&str, &str)]| {
        let test =
            "client_http::secure::the_systems_authorities_and_proxies_are_those_of_the_environment";
        let mut command = Command::new(std::env::current_exe().unwrap());
        for name in [
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
            "SSL_CERT_DIR",
            "SSL_CERT_FILE",
        ] {
            command.env_remove(name);
        }
        let command = command
            .args(["--exact", test, "--nocapture"])
            .env("CLIENT_HTTP_URL", &url);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let ca = authority.path("ca.pem").display().to_string();
    let told = ask(&[("SSL_CERT_FILE", &ca)]);
    assert!(told.contains("head 0"), "{told}");
    let told = ask(&[]);
    assert!(
        told.contains("error") && told.contains("no TLS with"),
        "{told}"
    );
    let tunnels = Tunnels::to(Some(server.address()));
    let proxy = format!("http://{}", tunnels.address);
    let told = ask(&[("SSL_CERT_FILE", &ca), ("HTTPS_PROXY", &proxy)]);
    assert!(told.contains("head 0"), "{told}");
    assert_eq!(tunnels.asked().len(), 1);
    let told = ask(&[
        ("SSL_CERT_FILE", &ca),
        ("HTTPS_PROXY", &proxy),
        ("NO_PROXY", "localhost"),
    ]);
    assert!(told.contains("head 0"), "{told}");
    assert_eq!(tunnels.asked().len(), 1);
}

fn through(proxy: SocketAddr, more: HttpOptions) -> HttpOptions {
    let url = format!("http://me:hunter2@{proxy}");
    let proxies =
        Proxies::read(|name| (name == "HTTPS_PROXY" || name == "HTTP_PROXY").then(|| url.clone()));
    HttpOptions { proxies, ..more }
}

#[test]
fn a_proxy_makes_the_way_and_sees_neither_the_user_nor_what_is_said() {
    let Some(authority) = Authority::make() else {
        return;
    };
    let server = authority.server();
    let tunnels = Tunnels::to(Some(server.address()));
    let options = through(tunnels.address, trusting(&authority.path("ca.pem")));
    let remote = at("https", server.address(), options);
    for _ in 0..3 {
        assert_eq!(remote.head().unwrap(), Head::ROOT);
    }
    let asked = tunnels.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let target = format!("CONNECT localhost:{} HTTP/1.1\r\n", server.address().port());
    assert!(asked[0].starts_with(&target), "{asked:?}");
    assert!(
        asked[0].contains("Proxy-Authorization: Basic bWU6aHVudGVyMg=="),
        "{asked:?}"
    );
    let seen = asked.concat() + &tunnels.passed();
    assert!(
        !seen.contains(&user_id("ann")) && !seen.contains("/0.1/"),
        "{seen}"
    );
}

#[test]
fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    let tunnels = Tunnels::to(None);
    let remote = remote_at(
        "https://sync.example",
        "ann",
        through(tunnels.address, options()),
    );
    let outcome = remote.head();
    let why = unreached(&outcome);
    assert!(matches!(why, Unreached::Proxy { .. }), "{why:?}");
    let error = outcome.unwrap_err();
    let words = format!("{error} {error:?} {remote:?}");
    assert!(
        words.contains("407") && !words.contains("hunter2"),
        "{words}"
    );
    assert_eq!(tunnels.asked().len(), 3);
    let bad = Proxies::read(|name| (name == "HTTPS_PROXY").then(|| "http://".to_owned()));
    let url = "https://sync.example".parse().unwrap();
    let made = HttpRemote::new(
        &url,
        user("ann"),
        HttpOptions {
            proxies: bad,
            ..options()
        },
    );
    assert!(matches!(
        unreached(&made.map(|_| ())),
        Unreached::Proxy { .. }
    ));
}
