//! Commands that die at any moment, and disks without room: nothing that was said is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Desks, address, ran_in, stdin};
use crate::full_disk::in_own_namespace;
use crate::kit::{Server, binary};

#[test]
fn a_command_that_is_killed_at_any_moment_loses_nothing() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    let mut said = BTreeSet::new();
    // Moments that are spread over what a command takes, in an order that is none.
    for round in 0..60_u64 {
        let device = [&desk, &laptop][(round % 2) as usize];
        let text = format!("{round}");
        let (args, input): (&[&str], &str) = match round % 3 {
            0 => (&["commit"], &text),
            1 => (&["sync"], ""),
            _ => (&["pull"], ""),
        };
        if round % 3 != 0 {
            said.insert(text.clone());
            device.commit(&text);
        }
        let mut command = binary();
        command
            .args(args)
            .current_dir(&device.path)
            .stdin(stdin(input.as_bytes()));
        let mut child = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round * 37 % 61));
        child.kill().ok();
        child.wait().unwrap();
    }
    for device in [&desk, &laptop, &desk] {
        device.run(&["sync"]).good();
    }
    let texts = desk.texts();
    assert_eq!(texts, laptop.texts());
    let all: BTreeSet<_> = texts.iter().cloned().collect();
    assert_eq!(all.len(), texts.len(), "said twice: {texts:?}");
    assert!(said.is_subset(&all), "lost: {:?}", said.difference(&all));
    let store = desk.home("store");
    desk.run(&["fsck", "--data", store.to_str().unwrap()])
        .good();
}

#[test]
fn a_clone_that_is_broken_off_goes_on_without_asking() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let invite = desk.run(&["invite", "--force"]).good();
    // The server is away when the clone has the invite, and back later.
    let elsewhere = invite.replace(&address(&server), "http://127.0.0.1:1");
    let new = desks.path("new");
    let clone = ["clone", new.to_str().unwrap()];
    let begun = ran_in(
        &desks.path(""),
        &[&clone[..], &["--invite-file", "-"]].concat(),
        &elsewhere,
    );
    assert_eq!(begun.code, Some(3), "{begun:?}");
    let device = super::Desk { path: new.clone() };
    assert!(device.run(&["status"]).good().contains("not whole yet"));
    device.set("url", &address(&server));
    ran_in(&desks.path(""), &clone, "").good();
    assert_eq!(device.texts(), ["first"]);
    assert!(!device.run(&["status"]).good().contains("not whole yet"));
    let again = ran_in(&desks.path(""), &clone, "");
    assert_eq!(again.code, Some(2), "{again:?}");
}

#[test]
fn a_rekey_that_is_broken_off_is_finished_by_the_next_command() {
    for at in [0, 5, 10, 20, 30, 45, 60] {
        let server = Server::start();
        let desks = Desks::new();
        let desk = desks.init("desk", &address(&server));
        desk.commit("first");
        desk.run(&["sync"]).good();
        let mut rekey = binary();
        rekey.args(["rekey", "--force"]).current_dir(&desk.path);
        let mut rekey = rekey.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(at));
        rekey.kill().ok();
        rekey.wait().unwrap();
        desk.commit("second");
        assert_eq!(desk.texts(), ["first", "second"], "killed after {at} ms");
        assert!(!desk.home("remote.next").exists());
    }
}

#[test]
fn the_old_keys_are_found_though_what_was_pending_at_a_rekey_is_said_again_before_them() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    laptop.commit("theirs");
    laptop.run(&["sync"]).good();
    desk.commit("ours");
    let user_ids = |times: usize| {
        let mut told = Vec::new();
        for _ in 0..times {
            told.push(desk.told(&["rekey", "--force"]).1);
        }
        told
    };
    // Twice, before the server hears of the first: it has the user of before both.
    let told = user_ids(2);
    assert_eq!(told[0]["old"], told[1]["old"]);
    assert_ne!(told[0]["new"], told[1]["new"]);
    let line = |name: &str| told[1][name].as_str().unwrap().to_owned() + "\n";
    let mut command = binary();
    command
        .args(["users", "mv", "-", "-", "--data"])
        .arg(server.data());
    super::ran(&mut command, (line("old") + &line("new")).as_bytes()).good();
    desk.run(&["sync"]).good();
    let new = desks.clone_of(&desk, "new");
    assert_eq!(new.texts(), ["first", "theirs", "ours"]);
    // Once it has, the next one begins from there.
    assert_eq!(user_ids(1)[0]["old"], told[1]["new"]);
}

#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    let server = Server::start();
    let desks = Desks::new();
    let small = desks.path("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2m,mode=700 none '{}'",
        small.display()
    );
    let Some(mut command) = in_own_namespace(&script) else {
        return;
    };
    // One namespace for all of it: the program is a shell that has the binary as its first argument.
    let program = format!(
        "set -e; cd '{}'; B='{}'\n\
         $B init --server {} >&2; echo first | $B commit >&2\n\
         ! head -c 4000000 /dev/urandom | $B commit 2>full || exit 9\n\
         grep -q 'No space left' full\n\
         head -c 4000000 /dev/zero >filler 2>/dev/null || true\n\
         ! echo second | $B commit --json || exit 9\n\
         ! $B init other --server {} || exit 9\n\
         rm filler; echo third | $B commit >&2; $B sync >&2; $B follow --once | grep -o '\"text\":\"[a-z]*'\n",
        small.display(),
        binary().get_program().to_string_lossy(),
        address(&server),
        address(&server),
    );
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut shell = std::process::Command::new(command.get_program());
    shell
        .args(&args[..args.len() - 1])
        .args(["bash", "-c", &program]);
    command = shell;
    let ran = super::ran(&mut command, b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut lines = ran.stdout.lines();
    assert!(
        lines.next().unwrap().starts_with("{\"error\":\"failed\""),
        "{ran:?}"
    );
    assert_eq!(
        lines.collect::<Vec<_>>(),
        ["\"text\":\"first", "\"text\":\"third"]
    );
}

#[test]
fn an_init_that_a_full_disk_broke_off_is_begun_anew_once_there_is_room() {
    let desks = Desks::new();
    let small = desks.path("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m,mode=700 none '{}'",
        small.display()
    );
    let Some(command) = in_own_namespace(&script) else {
        return;
    };
    // A page more of room each time, until one is enough.
    let program = format!(
        "cd '{}'; B='{}'; filler=$(df --output=avail -B 4096 . | tail -n 1)\n\
         for pages in $(seq 0 20); do\n\
         head -c $(((filler - pages) * 4096)) /dev/zero >filler\n\
         $B init new --server http://127.0.0.1:1 2>../said && exit 0\n\
         rm filler; grep -q 'No space left' ../said || exit 8\n\
         $B init new --server http://127.0.0.1:1 >&2 && $B -C new status >&2 || exit 9\n\
         rm -r new; echo refused; done\n",
        small.display(),
        binary().get_program().to_string_lossy(),
    );
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut shell = std::process::Command::new(command.get_program());
    shell
        .args(&args[..args.len() - 1])
        .args(["bash", "-c", &program]);
    let ran = super::ran(&mut shell, b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let refused = ran.stdout.matches("refused").count();
    assert!((2..20).contains(&refused), "{ran:?}");
}
