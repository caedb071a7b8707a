//! A box that burns, the standby that takes over, and the devices that bring back what the last copy lacks (`src/docs/copies.md`).

use std::process::Command;
use std::sync::Arc;

use super::{Desks, address};
use crate::backups::other_machine;
use crate::kit::{Server, binary, run_with_deadline};

#[test]
fn what_was_acknowledged_since_the_last_copy_is_named_as_the_loss_and_devices_bring_it_back() {
    let mut burns = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&burns));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    let tablet = desks.clone_of(&desk, "tablet");

    // A timer copies to the second box, which tries whether it could serve that.
    let second = Arc::new(tempfile::tempdir().unwrap());
    let copy = second.path().join("data");
    let ssh = other_machine();
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |command: &mut Command| run_with_deadline(command).good();
    let mut backup = binary();
    backup.args(["backup", "--quiet", &format!("box:{}", copy.display())]);
    run(backup.arg("--data").arg(burns.data()).env("PATH", path));
    run(binary().args(["drill", "--quiet"]).arg(&copy));

    // Acknowledged since: on a device that lives on, and on one that burns as well. And one has said something that nobody knows.
    desk.commit("second");
    desk.commit("third");
    assert_eq!(desk.told(&["sync"]).1["pushed"], 2);
    tablet.commit("fourth");
    tablet.run(&["sync"]).good();
    laptop.commit("offline");
    burns.kill();
    std::fs::remove_dir_all(&tablet.path).unwrap();

    run(binary().args(["fsck", "--data"]).arg(&copy));
    let promoted = Server::on(second, &[]);
    for device in [&desk, &laptop] {
        device.set("url", &address(&promoted));
    }
    // The loss is named to whoever had it, and nothing is done about it unasked.
    let (status, told) = desk.told(&["sync"]);
    assert_eq!(
        (status, &told["how"], &told["ours"]),
        (5, &"rollback".into(), &2.into()),
        "{told}"
    );
    assert!(desk.run(&["sync"]).stderr.contains("push --restore"));
    // Who was not ahead of the copy goes on. What it has said comes after what is brought back, if that is sooner.
    desk.run(&["push", "--restore"]).good();
    desk.run(&["sync"]).good();
    laptop.run(&["sync"]).good();
    desk.run(&["sync"]).good();
    let all = ["first", "second", "third", "offline"];
    for device in [&desk, &laptop, &desks.clone_of(&desk, "new")] {
        assert_eq!(device.texts(), all);
    }
    run(binary().args(["fsck", "--data"]).arg(promoted.data()));
}
