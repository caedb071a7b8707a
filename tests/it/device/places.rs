//! Where a replica is, and from where it is meant.

use super::{Desk, Desks, address, ran_in};
use crate::kit::Server;

#[test]
fn a_replica_is_found_from_below_and_by_name_and_moves_with_its_directory() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let below = desk.path.join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("note"), "here").unwrap();
    let id = ran_in(&below, &["commit", "note"], "").good();
    let id = id.trim_end();
    let top = desks.path("");
    for args in [
        &["cat", id, "-C", "desk"][..],
        &["-C", "desk", "cat", id],
        &["-C", "desk", "cat", "-C", "a/b", id],
        &["-C", "desk/a", "cat", id],
    ] {
        assert_eq!(ran_in(&top, args, "").good(), "here", "{args:?}");
    }
    ran_in(&top, &["sync", "desk"], "").good();
    ran_in(&top, &["-C", "desk", "status", "a"], "").good();
    assert_eq!(ran_in(&top, &["status"], "").code, Some(2));
    let moved = desks.path("elsewhere");
    std::fs::rename(&desk.path, &moved).unwrap();
    let desk = Desk { path: moved };
    desk.commit("more");
    desk.run(&["sync"]).good();
    assert_eq!(desk.texts(), ["more"]);
    assert_eq!(desk.run(&["cat", id]).good(), "here");
}

#[test]
fn log_fsck_and_snapshot_read_a_devices_store() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let id = desk.commit("milk");
    desk.run(&["sync"]).good();
    let store = [".mentat-sync/store"];
    let log = desk.run(&["log", "--data", store[0]]).good();
    assert!(log.contains(&id), "{log}");
    desk.run(&["fsck", "--data", store[0]]).good();
    desk.run(&["snapshot", "--data", store[0], "copy"]).good();
    for served in [&["gc"][..], &["users"]] {
        let refused = desk.run(&[served, &["--data", store[0]]].concat());
        assert_ne!(refused.code, Some(0), "{refused:?}");
    }
}

#[test]
fn help_has_a_heading_for_each_side() {
    let desks = Desks::new();
    let help = ran_in(&desks.path(""), &["--help"], "").good();
    let [server, device, either] = ["A server:", "A device:", "The store of either:"]
        .map(|heading| help.find(heading).unwrap());
    let at = |command: &str| help.find(&format!("\n  {command} ")).unwrap();
    for command in ["serve", "users", "health"] {
        assert!((server..device).contains(&at(command)), "{command}");
    }
    for command in [
        "init", "clone", "commit", "pull", "push", "sync", "cat", "follow", "status",
    ] {
        assert!((device..either).contains(&at(command)), "{command}");
    }
    for command in ["invite", "rekey", "import"] {
        assert!((device..either).contains(&at(command)), "{command}");
    }
    let completions = ran_in(&desks.path(""), &["completions", "bash"], "").good();
    ran_in(&desks.path(""), &["man", "pages"], "").good();
    for command in ["clone", "rekey", "follow"] {
        assert!(
            completions.contains(&format!("mentat__sync,{command})")),
            "{command}"
        );
        assert!(
            desks
                .path(&format!("pages/mentat-sync-{command}.1"))
                .exists()
        );
    }
}

#[test]
fn commands_for_either_store_look_at_the_replica_that_is_meant() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    let id = desk.commit("milk");
    let home = desk.home("store");
    assert!(desk.run(&["fsck"]).good().contains("1 user"));
    assert_eq!(desk.run(&["log"]).good(), "");
    let copy = desks.path("copy");
    let at = ["-C", desk.path.to_str().unwrap()];
    let snapshot = [&at[..], &["snapshot", copy.to_str().unwrap()]].concat();
    ran_in(&desks.path(""), &snapshot, "").good();
    assert!(copy.join("FORMAT").exists());
    // Nothing is guessed where a data directory is named, or is at the usual place.
    let both = [&at[..], &["fsck", "--data", home.to_str().unwrap()]].concat();
    assert_eq!(ran_in(&desks.path(""), &both, "").code, Some(2));
    std::fs::create_dir(desk.path.join("data")).unwrap();
    assert_eq!(desk.run(&["fsck"]).code, Some(3));
    let elsewhere = desk.run(&["fsck", "--data", "nowhere"]);
    assert_eq!(elsewhere.code, Some(3), "{elsewhere:?}");
    assert!(desk.run(&["cat", &id]).good().contains("milk"));
}
