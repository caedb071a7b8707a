use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::kit::{
    Finished, ROOT, Server, address_in, binary, chunk, run_with_deadline, skipped, transaction_id,
    user_id,
};

fn serve(data: &Path, more: &[&str]) -> Command {
    serve_at("127.0.0.1:0", data, more)
}

fn serve_at(address: &str, data: &Path, more: &[&str]) -> Command {
    let mut command = binary();
    command
        .args(["serve", "--listen", address, "--data"])
        .arg(data)
        .args(more);
    command
}

/// It does not start, says why in words for a person, and ends with this code.
#[track_caller]
fn does_not_start(command: &mut Command, code: i32, words: &[&str]) -> Finished {
    let ended = run_with_deadline(command);
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

#[test]
fn the_first_line_says_what_is_served_from_where_at_which_address() {
    let server = Server::start();
    let line = server.has_said(|line| address_in(line).is_some());
    assert_eq!(
        line,
        format!(
            "mentat-sync {} serves {} at http://{}",
            env!("CARGO_PKG_VERSION"),
            server.data().display(),
            server.address()
        )
    );
}

#[test]
fn a_directory_that_is_not_there_is_made() {
    let top = tempfile::tempdir().unwrap();
    let server = Server::on(std::sync::Arc::new(top), &[]);
    let format = fs::read_to_string(server.data().join("FORMAT")).unwrap();
    assert_eq!(format, "mentat-sync 1\n");
}

#[test]
fn an_unknown_format_is_left_alone() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    for format in ["mentat-sync 2\n", "", "mentat-sync 1", "something else\n"] {
        fs::create_dir_all(data.join("users")).unwrap();
        fs::write(data.join("FORMAT"), format).unwrap();
        does_not_start(
            &mut serve(&data, &[]),
            1,
            &["FORMAT", data.to_str().unwrap()],
        );
        assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), format);
    }
}

#[test]
fn a_format_without_its_newline_is_told_from_another_format() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    fs::create_dir_all(data.join("users")).unwrap();
    for format in [
        "mentat-sync 1",
        "mentat-sync 1\r\n",
        "\u{feff}mentat-sync 1\n",
    ] {
        fs::write(data.join("FORMAT"), format).unwrap();
        let mend = "echo mentat-sync 1 > FORMAT";
        does_not_start(&mut serve(&data, &[]), 1, &["newline", mend]);
    }
    fs::write(data.join("FORMAT"), "mentat-sync 2\n").unwrap();
    does_not_start(&mut serve(&data, &[]), 1, &["the version of mentat-sync"]);
}

#[test]
fn users_without_a_format_are_left_alone() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    let user = data.join("users").join(user_id("ada"));
    fs::create_dir_all(&user).unwrap();
    does_not_start(
        &mut serve(&data, &[]),
        1,
        &["FORMAT", data.to_str().unwrap()],
    );
    assert!(!data.join("FORMAT").exists());

    // With no users there is nothing that it could be the format of.
    fs::remove_dir(&user).unwrap();
    let server = Server::on(std::sync::Arc::new(top), &[]);
    assert!(server.data().join("FORMAT").exists());
}

#[test]
fn a_file_is_no_directory() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    fs::write(&data, "a file").unwrap();
    does_not_start(&mut serve(&data, &[]), 1, &[data.to_str().unwrap()]);
    // Nor is one inside that the server needs.
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("tmp"), "a file").unwrap();
    does_not_start(&mut serve(&data, &[]), 1, &["tmp"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let top = tempfile::tempdir().unwrap();
    does_not_start(
        binary()
            .args(["serve", "--listen", &address, "--data"])
            .arg(top.path().join("data")),
        1,
        &[&address],
    );
}

/// The words of a server that waits for an address.
const WAITS: &str = "waits to listen at ";

#[test]
fn an_address_that_another_program_leaves_later_is_waited_for() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(holder);
    });
    let flags = ["--listen", &address, "--listen-wait", "60s"];
    let server = Server::with(&flags);
    leaves.join().unwrap();
    server.has_said(|line| line.contains(WAITS) && line.contains(&address));
    let line = server.has_said(|line| address_in(line).is_some());
    assert!(line.ends_with(&format!("http://{address}")), "{line}");
    crate::kit::Client::new(address.parse().unwrap())
        .get("/__lbheartbeat__")
        .expect(200);
}

#[test]
fn an_address_that_comes_later_is_waited_for() {
    if !rustix::process::geteuid().is_root() {
        return skipped("an address that comes later", "not root here");
    }
    if !crate::readme::has(&["unshare", "ip"]) {
        return;
    }
    let top = std::sync::Arc::new(tempfile::tempdir().unwrap());
    // A network of its own, in which the address comes some time after the server has opened its store.
    // Before it has any, it can be listened at whatever.
    let comes = "ip link set lo up; (until [ -e \"$1/FORMAT\" ]; do sleep 0.1; done; sleep 2; \
                 ip address add 192.0.2.7/32 dev lo) & shift; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", comes])
        .arg(binary().get_program())
        .arg(top.path().join("data"));
    let flags = ["--listen", "192.0.2.7:0", "--listen-wait", "60s"];
    let server = Server::launch(command, top, &flags);
    server.has_said(|line| line.contains(WAITS));
    server.has_said(|line| line.contains(", http://192.0.2.7:"));
}

#[test]
fn an_address_that_does_not_come_in_time_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (address, words) in [
        (taken.as_str(), "another program listens there"),
        ("192.0.2.1:1", "no such address"),
    ] {
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("data");
        let mut command = serve_at(address, &data, &["--listen-wait", "600ms"]);
        let begun = Instant::now();
        let ended = does_not_start(&mut command, 1, &[address, words]);
        assert!(begun.elapsed() >= Duration::from_millis(600));
        assert_eq!(ended.stderr.matches(WAITS).count(), 1, "{ended:?}");
        // What may not be listened at does not get better by waiting.
        let never = ["--listen", "no.such.host.invalid:1", "--listen-wait", "60s"];
        let begun = Instant::now();
        does_not_start(
            &mut serve(&top.path().join("data"), &never),
            1,
            &["cannot listen"],
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_server_that_waits_for_an_address_ends_when_it_is_told_to() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    let mut command = serve_at("192.0.2.1:1", &data, &["--listen-wait", "600s"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains(WAITS)));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
}

#[test]
fn a_flag_that_makes_no_sense_is_a_usage_error() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    for flags in [
        &["--max-chunk-bytes", "many"] as &[_],
        &["--body-timeout", "soon"],
        &["--new-users", "perhaps"],
        &["--listen", "nowhere"],
        &["--no-such-flag"],
    ] {
        does_not_start(&mut serve(&data, flags), 2, &[flags[0]]);
    }
    assert!(
        !data.exists(),
        "nothing is made for a command that is wrong"
    );
}

#[test]
fn a_flag_may_be_set_through_the_environment() {
    let mut command = binary();
    command.env("MENTAT_SYNC_MAX_CHUNK_BYTES", "5B");
    let top = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let server = Server::launch(command, top, &[]);
    let mut device = server.device("ada");
    device.put_chunk(&chunk("12345")).expect(201);
    device
        .put_chunk(&chunk("123456"))
        .expect_refusal(413, "too-large");
}

#[test]
fn several_addresses_and_a_socket_can_be_listened_at() {
    let top = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let socket = top.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let server = Server::on(top, &["--listen", "127.0.0.1:0", "--listen", &listen]);
    server.has_said(|line| line.contains(socket.to_str().unwrap()));
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream
        .write_all(b"GET /__lbheartbeat__ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut addresses: Vec<_> = server
        .said()
        .iter()
        .flat_map(|line| {
            line.split("http://")
                .skip(1)
                .filter_map(|rest| rest.split([' ', '/', ',']).next()?.parse().ok())
                .collect::<Vec<std::net::SocketAddr>>()
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 2, "{:?}", server.said());
    for address in addresses {
        crate::kit::Client::new(address)
            .get("/__lbheartbeat__")
            .expect(200);
    }
}

#[test]
fn a_users_id_is_in_no_log_line() {
    let server = Server::start();
    let mut device = server.device("ada");
    let user = user_id("ada");
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[&chunk("logged")]);
    device.get("head").expect(200);
    device
        .get(&format!("transactions?from={first}"))
        .expect(200);
    device.get("nowhere").expect(404);
    device.get("chunks/x").expect(400);
    let upper = format!("/0.1/{}/head", user.to_uppercase());
    device.client.get(&upper).expect(400);
    let encoded = format!("/0.1/{}/head", user.replacen('-', "%2d", 1));
    device.client.get(&encoded).expect(400);
    fs::remove_file(server.folder("ada").join("HEAD")).unwrap();
    device.get("head").expect(500);

    // There is an access log, and it knows the user by 8 digits.
    let line = server.has_said(|line| line.contains("PUT") && line.contains("204"));
    assert!(line.contains(&user[..8]), "{line}");
    server.has_said(|line| line.contains("500"));
    for line in server.said() {
        let line = line.to_lowercase();
        assert!(!line.contains(&user[9..]), "{line}");
        assert!(!line.contains(&user[9..18]), "{line}");
    }
}

#[test]
fn help_tells_every_flag_with_its_default() {
    let help = run_with_deadline(binary().args(["serve", "--help"]));
    assert_eq!(help.code, Some(0));
    for words in [
        "--data",
        "--listen",
        "127.0.0.1:8000",
        "--max-chunk-bytes",
        "--body-timeout",
        "--shutdown-timeout",
        "--new-users",
        "--allow-delete",
        "--uuid-chunk-ids",
        "connections",
        "MENTAT_SYNC_",
    ] {
        assert!(help.stdout.contains(words), "no {words} in {}", help.stdout);
    }
}
