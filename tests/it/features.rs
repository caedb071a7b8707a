//! What is built in with each of the two features alone, by what Cargo says itself.

use std::collections::BTreeSet;
use std::process::Command;

/// Packages in a build of the client alone, this one included. Who embeds it builds and trusts them all: more than these
/// want a reason.
const CLIENT_PACKAGES: usize = 100;

/// The server's alone, by how their names begin.
const OF_SERVE: &[&str] = &[
    "actix",
    "bytesize",
    "env_logger",
    "inotify",
    "ipnet",
    "listenfd",
    "prometheus-client",
    "sd-notify",
    "tokio-rustls",
    "tokio-util",
];

/// The client's alone.
const OF_CLIENT: &[&str] = &[
    "aes-gcm",
    "hkdf",
    "hmac",
    "rustls-platform-verifier",
    "ureq",
];

/// Nobody's: they bring a compiler of C along, or a list of authorities that ages with the program.
const OF_NOBODY: &[&str] = &[
    "aws-lc",
    "native-tls",
    "openssl-sys",
    "webpki-roots",
    "hyper",
    "reqwest",
];

/// The packages that a build with these features, and no others, is made of.
fn packages(features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--no-default-features", "--features", features])
        .args(["--package", "mentat-sync", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap().to_owned();
    lines.lines().map(name).collect()
}

/// Those of the packages whose names begin as one of these.
fn among<'a>(packages: &'a BTreeSet<String>, begins: &[&str]) -> Vec<&'a str> {
    let packages = packages.iter().map(String::as_str);
    packages
        .filter(|name| begins.iter().any(|begin| name.starts_with(begin)))
        .collect()
}

#[test]
fn a_client_is_built_without_the_servers_packages_and_of_no_more_than_it_was() {
    let client = packages("client");
    assert_eq!(among(&client, OF_SERVE), [""; 0]);
    assert_eq!(among(&client, OF_NOBODY), [""; 0]);
    let count = client.len();
    assert!(count <= CLIENT_PACKAGES, "{count} packages: {client:?}");
}

#[test]
fn a_server_is_built_without_the_clients_packages() {
    let serve = packages("serve");
    assert_eq!(among(&serve, OF_CLIENT), [""; 0]);
    assert_eq!(among(&serve, OF_NOBODY), [""; 0]);
}

#[test]
fn the_names_that_one_feature_must_not_have_are_those_of_packages_of_the_other() {
    for (features, names) in [("serve", OF_SERVE), ("client", OF_CLIENT)] {
        let packages = packages(features);
        for name in names {
            assert_ne!(among(&packages, &[name]), [""; 0], "{name} in {features}");
        }
    }
}
