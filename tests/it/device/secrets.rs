//! The key is in one file, which its owner alone may read, and nowhere else.

use std::process::Stdio;

use serde_json::Value;

use super::{Desk, Desks, address, ran_in};
use crate::kit::{Finished, Server, binary, tree};

/// What must not be found: the key in each of its spellings, and the invite's code.
fn secrets(desk: &Desk) -> Vec<Vec<u8>> {
    let remote: Value =
        serde_json::from_slice(&std::fs::read(desk.home("remote")).unwrap()).unwrap();
    let key = remote["key"].as_str().unwrap();
    let invite = desk.run(&["invite", "--force"]).good();
    let code = invite.trim_end().split_once("#ms1").unwrap().1;
    let spelled = std::process::Command::new("python3")
        .args([
            "-c",
            "import base64,sys;print(base64.urlsafe_b64decode(sys.argv[1]+'=').hex())",
            key,
        ])
        .output();
    let mut all = vec![
        key.as_bytes().to_vec(),
        code.as_bytes().to_vec(),
        code.replace('-', "").into_bytes(),
    ];
    if let Ok(hex) = spelled {
        let hex = String::from_utf8(hex.stdout).unwrap().trim().to_owned();
        if hex.len() == 64 {
            let raw = (0..64)
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            all.push(raw.collect());
            all.push(hex.into_bytes());
        }
    }
    all
}

fn has(bytes: &[u8], secrets: &[Vec<u8>]) -> bool {
    let has = |secret: &Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret);
    secrets.iter().any(has)
}

#[track_caller]
fn is_silent(ran: &Finished, secrets: &[Vec<u8>]) {
    for said in [&ran.stdout, &ran.stderr] {
        assert!(!has(said.as_bytes(), secrets), "it tells a secret: {said}");
    }
}

#[test]
fn no_command_tells_a_secret_and_no_file_but_one_has_it() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let id = desk.commit("milk");
    let secrets = secrets(&desk);
    assert!(secrets.len() >= 3);
    // The search finds what is there to be found.
    assert!(has(&std::fs::read(desk.home("remote")).unwrap(), &secrets));
    for verbose in ["off", "trace"] {
        for args in [
            &["commit"][..],
            &["status", "--fetch"],
            &["sync"],
            &["pull"],
            &["push"],
            &["push", "--seed"],
            &["push", "--restore"],
            &["cat", &id],
            &["cat", "0000"],
            &["follow", "--once"],
            &["invite"],
            &["rekey"],
            &["init", "--server", "http://127.0.0.1:1"],
            &["clone", "--invite-file", "/dev/null"],
            &["import", "--from", "."],
            &["sync", "--json"],
        ] {
            let ran = binary()
                .args(args)
                .current_dir(&desk.path)
                .env("RUST_LOG", verbose)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let ran = Finished {
                code: ran.status.code(),
                stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
            };
            is_silent(&ran, &secrets);
        }
    }
    for (path, look) in tree(&desk.path.join(".mentat-sync")) {
        assert_eq!(look.mode & 0o077, 0, "{path}: {:o}", look.mode);
        if look.kind == 'f' && path != "remote" {
            let bytes = std::fs::read(desk.home(&path)).unwrap();
            assert!(!has(&bytes, &secrets), "{path} has a secret");
        }
    }
    for (path, look) in tree(&server.data()) {
        if look.kind == 'f' {
            let bytes = std::fs::read(server.data().join(&path)).unwrap();
            assert!(!has(&bytes, &secrets), "{path} of the server has a secret");
        }
    }
    assert!(
        server
            .said()
            .iter()
            .all(|line| !has(line.as_bytes(), &secrets))
    );
    // A wide umask makes nothing wider.
    let script = "umask 0 && exec \"$0\" \"$@\"";
    let made = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(binary().get_program())
        .args(["init", "wide", "--server", "http://127.0.0.1:1"])
        .current_dir(desks.path(""))
        .output();
    assert!(made.unwrap().status.success());
    for (path, look) in tree(&desks.path("wide/.mentat-sync")) {
        assert_eq!(look.mode & 0o077, 0, "{path}: {:o}", look.mode);
    }
}

#[test]
fn an_invite_with_a_typo_is_not_repeated_in_the_error() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    let invite = desk.run(&["invite", "--force"]).good();
    let last = invite.trim_end().chars().last().unwrap();
    let wrong = format!(
        "{}{}",
        &invite.trim_end()[..invite.trim_end().len() - 1],
        if last == '0' { '1' } else { '0' }
    );
    for json in [&[][..], &["--json"]] {
        let args = [&["clone", "new", "--invite-file", "-"][..], json].concat();
        let bad = ran_in(&desks.path(""), &args, &wrong);
        assert_eq!(bad.code, Some(2));
        let group = &wrong[wrong.find("#ms1").unwrap() + 4..][..11];
        assert!(
            !bad.stderr.contains(group) && !bad.stdout.contains(group),
            "{bad:?}"
        );
    }
}

#[test]
fn the_arguments_and_the_environment_of_a_process_have_no_secret() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let secrets = secrets(&desk);
    let mut follow = binary();
    let mut follow = follow
        .arg("follow")
        .current_dir(&desk.path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", follow.id())).unwrap();
        assert!(!has(&bytes, &secrets), "{file}");
    }
    follow.kill().unwrap();
    follow.wait().unwrap();
}
