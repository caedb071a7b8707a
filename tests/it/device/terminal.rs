//! What is asked and shown on a terminal, by way of `script`.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Desks, address};
use crate::kit::{Server, binary};
use crate::readme::has;

/// What a terminal shows of a command, at which this is typed.
fn on_terminal(directory: &std::path::Path, line: &str, typed: &str) -> (Option<i32>, String) {
    let line = line.replace("mentat-sync", &binary().get_program().to_string_lossy());
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    if !typed.is_empty() {
        // Typed once it is asked for: what is typed before is echoed by the terminal itself.
        let mut byte = [0];
        while !shown.ends_with(b"Invite: ") && screen.read(&mut byte).unwrap() == 1 {
            shown.push(byte[0]);
        }
        // The prompt is printed an instant before the terminal is told not to echo: no person types that fast.
        std::thread::sleep(Duration::from_millis(300));
        keyboard.write_all(typed.as_bytes()).unwrap();
        keyboard.write_all(b"\n").unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    drop(keyboard);
    let status = child.wait().unwrap();
    (status.code(), String::from_utf8(shown).unwrap())
}

#[test]
fn an_invite_is_shown_on_a_terminal_and_typed_without_being_seen() {
    if !has(&["script"]) {
        return;
    }
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("milk");
    desk.run(&["sync"]).good();
    let (code, invite) = on_terminal(&desk.path, "mentat-sync invite", "");
    assert_eq!(code, Some(0), "{invite}");
    let invite = invite.trim().to_owned();
    assert!(invite.contains("/#ms1"), "{invite}");
    let (code, shown) = on_terminal(&desk.path, "mentat-sync invite --qr", "");
    assert_eq!(code, Some(0));
    assert!(shown.contains('█') && shown.contains(&invite), "{shown}");
    let (code, shown) = on_terminal(&desks.path(""), "mentat-sync clone laptop", &invite);
    assert_eq!(code, Some(0), "{shown}");
    let secret = invite.split_once("#ms1").unwrap().1;
    assert!(!shown.contains(&secret[..11]), "{shown}");
    let laptop = super::Desk {
        path: desks.path("laptop"),
    };
    assert_eq!(laptop.texts(), ["milk"]);
}

/// What a terminal of a usual width shows of a command's bar, in the order in which it was drawn.
fn drawn(directory: &std::path::Path, line: &str) -> String {
    let (code, shown) = on_terminal(directory, &format!("stty cols 120; {line}"), "");
    assert_eq!(code, Some(0), "{shown}");
    shown
}

/// Sees that the bar said this, and that none of its "so much of so much" passes the end.
fn says(shown: &str, words: &[&str]) {
    for words in words {
        assert!(shown.contains(words), "{words}: {shown:?}");
    }
}

#[test]
fn long_work_shows_bytes_and_transactions_its_rate_and_the_time_left() {
    if !has(&["script", "stty"]) {
        return;
    }
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    std::fs::write(desk.path.join("large"), vec![7; 9 << 20]).unwrap();
    let committed = drawn(&desk.path, "mentat-sync commit large");
    says(&committed, &[" of 9.00 MiB, ", "/s, ", " left"]);
    let committed = drawn(&desk.path, "mentat-sync commit <large");
    says(&committed, &[" of 9.00 MiB, ", " left"]);
    let piped = drawn(&desk.path, "cat large | mentat-sync commit");
    says(&piped, &["MiB, ", "/s"]);
    let pushed = drawn(&desk.path, "mentat-sync sync");
    says(&pushed, &["0 of 3 transactions, ", "/s, ", " left"]);
    let invite = desk.run(&["invite", "--force"]).good();
    std::fs::write(desks.path("invite"), invite).unwrap();
    let cloned = drawn(
        &desks.path(""),
        "mentat-sync clone laptop --invite-file invite",
    );
    says(
        &cloned,
        &[" of 3 transactions, ", " of 1.", "MiB, ", "/s, ", " left"],
    );
    let laptop = super::Desk {
        path: desks.path("laptop"),
    };
    std::fs::write(laptop.path.join("other"), vec![8; 5 << 20]).unwrap();
    laptop.run(&["commit", "other"]).good();
    laptop.run(&["sync"]).good();
    let pulled = drawn(&desk.path, "mentat-sync sync");
    says(&pulled, &[" of 1 transactions, ", "MiB, ", "/s, ", " left"]);
    // What is short is not asked about, and shows nothing.
    laptop.commit("milk");
    laptop.run(&["sync"]).good();
    assert!(!drawn(&desk.path, "mentat-sync pull").contains(" left"));
}
