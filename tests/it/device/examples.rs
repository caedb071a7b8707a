//! The examples of the library, as a person runs them.

use std::process::Command;
use std::sync::Once;

use super::{Desk, Desks, address, ran, ran_in};
use crate::kit::{Finished, Server, binary};

/// An example's program; all are built where they are not yet.
fn example(name: &str) -> Command {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let build = [
            "build",
            "--locked",
            "--quiet",
            "--example",
            "todo",
            "--example",
            "mirror",
        ];
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let built = Command::new(env!("CARGO"))
            .args(build)
            .args(["--manifest-path", manifest])
            .status();
        assert!(built.unwrap().success());
    });
    let program = binary().get_program().to_owned();
    let examples = std::path::Path::new(&program)
        .parent()
        .unwrap()
        .join("examples");
    Command::new(examples.join(name))
}

#[track_caller]
fn todo(desk: &Desk, args: &[&str]) -> String {
    let mut command = example("todo");
    ran(command.arg(&desk.path).args(args), b"").good()
}

fn mirrored(from: &Server, to: &Server, user: &str) -> Finished {
    let mut command = example("mirror");
    ran(command.args([address(from), address(to)]), user.as_bytes())
}

/// The id of the store's user.
fn user_of(desk: &Desk) -> String {
    let remote = std::fs::read_to_string(desk.home("remote")).unwrap();
    let remote: serde_json::Value = serde_json::from_str(&remote).unwrap();
    remote["user"].as_str().unwrap().to_owned()
}

#[test]
fn the_list_decides_what_becomes_of_what_others_removed() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    assert_eq!(todo(&desk, &["add", "milk"]), "  1 [ ] milk\n");
    todo(&desk, &["add", "bread"]);
    let list = todo(&desk, &["sync"]);
    let laptop = desks.clone_of(&desk, "laptop");
    assert_eq!(todo(&laptop, &["sync"]), list);
    let number = |text: &str| {
        let line = list.lines().find(|line| line.ends_with(text)).unwrap();
        line[..3].trim().to_owned()
    };
    // The laptop ticks both off without a network, and writes one of them anew; the desk has removed both by then.
    let (milk, bread) = (number("milk"), number("bread"));
    todo(&laptop, &["done", &milk]);
    todo(&laptop, &["done", &bread]);
    todo(&laptop, &["edit", &bread, "rye bread"]);
    todo(&desk, &["remove", "2"]);
    todo(&desk, &["remove", "1"]);
    assert_eq!(todo(&desk, &["sync"]), "");
    assert_eq!(todo(&laptop, &["sync"]), "  1 [ ] rye bread\n");
    assert_eq!(todo(&desk, &["sync"]), "  1 [ ] rye bread\n");
    // Two additions and two removals; of the laptop's three words, the two that had no use any more are not said.
    assert_eq!(laptop.told(&["status"]).1["seq"], 5);
    // The state was saved with its position: what is shown without a network is the same.
    server.stop();
    assert_eq!(todo(&laptop, &["list"]), "  1 [ ] rye bread\n");
    assert_eq!(todo(&laptop, &["add", "eggs"]).lines().count(), 2);
    assert_eq!(todo(&laptop, &["sync"]).lines().count(), 2);
}

#[test]
fn the_list_goes_on_after_a_rekey() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    todo(&desk, &["add", "milk"]);
    todo(&desk, &["sync"]);
    let laptop = desks.clone_of(&desk, "laptop");
    // The old keys are handed on by an entry that is none of the list, and that others may be quicker than.
    let told = desk.told(&["rekey", "--force"]).1;
    todo(&laptop, &["add", "bread"]);
    let both = todo(&laptop, &["sync"]);
    let [old, new] = ["old", "new"].map(|name| told[name].as_str().unwrap());
    let data = server.data();
    let moved = ["users", "mv", "-", "-", "--data", data.to_str().unwrap()];
    ran_in(&desk.path, &moved, format!("{old}\n{new}\n")).good();
    assert_eq!(todo(&desk, &["sync"]), both);
    let phone = desks.clone_of(&desk, "phone");
    assert_eq!(todo(&phone, &["sync"]), both);
    assert_eq!(todo(&phone, &["list"]), both);
}

#[test]
fn a_mirror_carries_what_is_missing_and_leaves_alone_what_is_not_an_ancestor() {
    let (first, second) = (Server::start(), Server::start());
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&first));
    for text in ["milk", "bread"] {
        desk.commit(text);
    }
    desk.run(&["sync"]).good();
    let user = user_of(&desk);
    assert!(
        mirrored(&first, &second, &user)
            .good()
            .starts_with("2 transactions")
    );
    desk.commit("eggs");
    std::fs::write(desks.path("state"), "state").unwrap();
    desk.run(&["sync"]).good();
    desk.run(&[
        "commit",
        "--checkpoint",
        desks.path("state").to_str().unwrap(),
    ])
    .good();
    assert!(
        mirrored(&first, &second, &user)
            .good()
            .starts_with("3 transactions")
    );
    // A device goes on there as if nothing were.
    desk.set("url", &address(&second));
    desk.commit("salt");
    desk.run(&["sync"]).good();
    let clone = desks.clone_of(&desk, "clone");
    assert_eq!(clone.texts(), ["milk", "bread", "eggs", "salt"]);
    // Now the second is ahead, and then both have gone on.
    let ahead = mirrored(&first, &second, &user);
    assert_eq!(ahead.code, Some(1), "{ahead:?}");
    clone.set("url", &address(&first));
    let before = clone.told(&["sync"]).0;
    assert_eq!(
        before, 5,
        "the first server is behind what the device knows"
    );
    assert!(
        mirrored(&second, &first, &user)
            .good()
            .starts_with("4 transactions")
    );
    clone.run(&["sync"]).good();
}
