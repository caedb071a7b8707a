//! Copies of a store in which something of some users is what no store makes: the others are copied all the same, and
//! who is not is named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{backup, contents, snapshot, sound, succeeds};
use crate::kit::{binary, run_with_deadline};
use crate::stock::{Stock, check, transaction};
use mentat_sync::upkeep::fsck::CheckOptions;

/// One user's oddity.
struct Odd {
    words: &'static str,
    /// Makes it, in a folder with a chain of three.
    make: fn(&Path),
    /// The place in the folder that is in the way.
    place: &'static str,
}

/// The path of the transaction that HEAD names, in a folder.
fn newest() -> String {
    let id = transaction(3).to_string();
    format!("transactions/{}/{id}.json", &id[..2])
}

fn fifo(place: &Path) {
    fs::remove_file(place).unwrap();
    let made = Command::new("mkfifo").arg(place).status();
    assert!(made.unwrap().success());
}

fn symlink_instead(place: &Path) {
    fs::rename(place, place.with_extension("real")).unwrap();
    symlink(place.with_extension("real"), place).unwrap();
}

fn directory_instead(place: &Path) {
    fs::remove_file(place).unwrap();
    fs::create_dir(place).unwrap();
}

/// Each keeps its user out of a new copy.
const IN_THE_WAY: [Odd; 9] = [
    Odd {
        words: "HEAD is a directory",
        make: |folder| directory_instead(&folder.join("HEAD")),
        place: "HEAD: a directory, where a file should be",
    },
    Odd {
        words: "HEAD is a pipe",
        make: |folder| fifo(&folder.join("HEAD")),
        place: "HEAD: a symlink, pipe or device, where a file should be",
    },
    Odd {
        words: "HEAD is a symlink",
        make: |folder| symlink_instead(&folder.join("HEAD")),
        place: "HEAD: a symlink, pipe or device, where a file should be",
    },
    Odd {
        words: "HEAD's transaction is a pipe",
        make: |folder| fifo(&folder.join(newest())),
        place: "transactions/",
    },
    Odd {
        words: "a file has the place of a directory",
        make: |folder| {
            fs::remove_dir_all(folder.join("chunks")).unwrap();
            fs::write(folder.join("chunks"), "").unwrap();
        },
        place: "chunks: a file, where a directory should be",
    },
    Odd {
        words: "a symlink has a user's name",
        make: symlink_instead,
        place: ": a symlink, file or device, not a folder",
    },
    Odd {
        words: "a symlink to nothing has a user's name",
        make: |folder| {
            fs::remove_dir_all(folder).unwrap();
            symlink("nowhere", folder).unwrap();
        },
        place: ": a symlink, file or device, not a folder",
    },
    Odd {
        words: "a file has a user's name",
        make: |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::write(folder, "").unwrap();
        },
        place: ": a symlink, file or device, not a folder",
    },
    Odd {
        words: "HEAD is missing",
        make: |folder| fs::remove_file(folder.join("HEAD")).unwrap(),
        place: "HEAD: missing",
    },
];

/// `log` is derived: a copy can do without.
const IN_NOBODYS_WAY: [Odd; 3] = [
    Odd {
        words: "log is a pipe",
        make: |folder| fifo(&folder.join("log")),
        place: "",
    },
    Odd {
        words: "log is a symlink",
        make: |folder| symlink_instead(&folder.join("log")),
        place: "",
    },
    Odd {
        words: "log is a directory",
        make: |folder| directory_instead(&folder.join("log")),
        place: "",
    },
];

/// A name for the user of each.
fn name(number: usize) -> String {
    format!("86868686-8686-4686-8686-8686868686{number:02}")
}

/// A store with one well user and, sound so far, one for each of these.
fn with_users(odd: &[Odd]) -> (Stock, Vec<PathBuf>) {
    let stock = Stock::full(3);
    let folders: Vec<_> = (0..odd.len())
        .map(|number| stock.path("users").join(name(number)))
        .collect();
    for folder in &folders {
        let copied = Command::new("cp")
            .arg("-a")
            .arg(stock.file(""))
            .arg(folder)
            .status();
        assert!(copied.unwrap().success());
    }
    (stock, folders)
}

fn spoil(odd: &[Odd], folders: &[PathBuf]) {
    for (odd, folder) in odd.iter().zip(folders) {
        (odd.make)(folder);
    }
}

#[test]
fn what_is_odd_of_some_users_keeps_nobody_else_out_of_a_snapshot() {
    let (stock, folders) = with_users(&IN_THE_WAY);
    spoil(&IN_THE_WAY, &folders);
    let copy = stock.directory.path().join("copy");
    let taken = snapshot(&stock, &copy);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    for (number, (odd, folder)) in IN_THE_WAY.iter().zip(&folders).enumerate() {
        let place = match odd.place.strip_prefix(':') {
            Some(what) => format!("{}:{what}", folder.display()),
            None => format!("{}/{}", folder.display(), odd.place),
        };
        let line = format!("user {} is not in the snapshot: {place}", name(number));
        assert!(taken.stderr.contains(&line), "{}: {taken:?}", odd.words);
    }
    let seen = check(&copy, &CheckOptions::default());
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1);
}

#[test]
fn a_log_that_cannot_be_read_is_left_out_of_a_snapshot_and_its_user_is_not() {
    let (stock, folders) = with_users(&IN_NOBODYS_WAY);
    spoil(&IN_NOBODYS_WAY, &folders);
    let copy = stock.directory.path().join("copy");
    succeeds(snapshot(&stock, &copy));
    let seen = sound(&copy);
    assert_eq!(seen.summary.users, 1 + IN_NOBODYS_WAY.len() as u64);
    assert_eq!(seen.summary.transactions, 3 * seen.summary.users);
}

#[test]
fn what_is_odd_of_some_users_keeps_nobody_else_out_of_a_first_copy_by_backup() {
    let (stock, folders) = with_users(&IN_THE_WAY);
    spoil(&IN_THE_WAY, &folders);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    let told = backup(&stock.data(), &copy);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("1 user copied"), "{told:?}");
    assert!(!told.stderr.contains("renamed"), "{told:?}");
    for (number, odd) in IN_THE_WAY.iter().enumerate() {
        let line = format!("mentat-sync: user {} is not", name(number));
        assert!(told.stderr.contains(&line), "{}: {told:?}", odd.words);
    }
    let seen = check(&copy, &CheckOptions::default());
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1);
}

#[test]
fn what_becomes_odd_of_some_users_stays_in_a_copy_by_backup_as_it_was() {
    let odd = IN_THE_WAY.into_iter().chain(IN_NOBODYS_WAY);
    let odd: Vec<Odd> = odd.collect();
    let (stock, folders) = with_users(&odd);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    let before = contents(&copy);
    spoil(&odd, &folders);
    let told = backup(&stock.data(), &copy);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(!told.stderr.contains("DATA has no more"), "{told:?}");
    assert_eq!(contents(&copy), before);
    sound(&copy);
}

#[test]
fn what_has_a_users_name_and_is_no_folder_is_named_by_each_tool_that_looks() {
    let (stock, folders) = with_users(&IN_THE_WAY);
    let no_folders = |odd: &Odd| odd.place.starts_with(':');
    let mut names = Vec::new();
    for (number, (odd, folder)) in IN_THE_WAY.iter().zip(&folders).enumerate() {
        if no_folders(odd) {
            (odd.make)(folder);
            names.push(name(number));
        }
    }
    assert_eq!(names.len(), 3);
    let run = |arguments: &[&str]| {
        let mut command = binary();
        command.args(arguments).arg("--data").arg(stock.data());
        let told = run_with_deadline(&mut command);
        assert_eq!(told.code, Some(1), "{arguments:?}: {told:?}");
        told
    };
    let listed = run(&["users"]);
    let checked = run(&["fsck"]);
    for name in &names {
        assert!(!listed.stdout.contains(name), "{listed:?}");
        let line = format!("user {name}: ");
        assert!(listed.stderr.contains(&line), "{listed:?}");
        let line = format!("damage: not-a-file: users/{name}: ");
        assert!(checked.stdout.contains(&line), "{checked:?}");
        assert!(
            !checked.stdout.contains(&format!("stranger: users/{name}:")),
            "{checked:?}"
        );
        let alone = run(&["fsck", "--user", name]);
        assert!(alone.stdout.contains(&line), "{alone:?}");
    }
    // All others are there.
    let others = IN_THE_WAY.len() - names.len() + 1;
    assert_eq!(listed.stdout.lines().count(), 1 + others);
}
