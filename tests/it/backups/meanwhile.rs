//! What becomes of a copy by `mentat-sync backup` when something happens at one chosen moment: just before the first pass of
//! `rsync`, or just after it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{backup, backup_to, contents, other_machine, sound, succeeds};
use crate::kit::{Finished, run_with_deadline};
use crate::stock::{Stock, USER, check, transaction};
use mentat_sync::model::TransactionId;
use mentat_sync::upkeep::fsck::CheckOptions;

/// Another name, and one more.
const OTHER: &str = "86868686-8686-4686-8686-868686868686";
const THIRD: &str = "96969696-9696-4696-8696-969696969696";

/// A directory with an `rsync` in it that does one thing before its first run, another one after it, and one more before
/// its second.
fn interrupted_rsync(events: [&str; 3]) -> TempDir {
    let bin = tempfile::tempdir().unwrap();
    let rsync = bin.path().join("rsync");
    let real = run_with_deadline(std::process::Command::new("sh").args(["-c", "command -v rsync"]));
    let real = real.stdout.trim_end();
    let [before, after, again] = events;
    let text = format!(
        "#!/bin/sh\nmark={}/run\ncase $1 in --server) exec {real} \"$@\";; esac\n\
         if [ -e $mark.2 ]; then exec {real} \"$@\"; fi\n\
         if [ -e $mark.1 ]; then : >$mark.2; ({again}) || exit 99; exec {real} \"$@\"; fi\n\
         : >$mark.1; ({before}) || exit 99\n{real} \"$@\"\nstatus=$?\n({after}) || exit 99\nexit $status\n",
        bin.path().display()
    );
    fs::write(&rsync, text).unwrap();
    fs::set_permissions(&rsync, PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

/// Takes a copy during which this happens, with a shell in the folder of users. Goes over ssh, if it is to.
fn copy_amid(stock: &Stock, destination: &Path, remote: bool, events: [&str; 3]) -> Finished {
    let users = stock.path("users");
    let within = |what: &str| format!("cd {} && {{ {what}; }}", users.display());
    let [before, after, again] = events.map(within);
    let rsync = interrupted_rsync([&before, &after, &again]);
    let ssh = other_machine();
    let mut path = format!("{}:", rsync.path().display());
    let mut to = destination.display().to_string();
    if remote {
        path += &format!("{}:", ssh.path().display());
        to = format!("box:{to}");
    }
    path += &std::env::var("PATH").unwrap();
    run_with_deadline(backup_to(&stock.data(), to).env("PATH", path))
}

/// The committed files of a user's folder, each with its bytes; and HEAD.
fn committed(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = contents(folder);
    files.retain(|(path, _)| {
        let first = path.iter().next().unwrap();
        ["HEAD", "aliases", "chunks", "log", "transactions"]
            .iter()
            .any(|name| first == *name)
    });
    files
}

/// The names of the users in a copy.
fn users(copy: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(copy.join("users"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A chain of this length with the ids of [`Stock::chain`] and other chunks.
fn another_life(length: u32) -> Stock {
    let stock = Stock::new();
    let mut parent = TransactionId::ROOT;
    for n in 1..=length {
        stock.pending(n, parent, &[stock.chunk(&format!("another life's {n}"))]);
        stock.advance(transaction(n));
        parent = transaction(n);
    }
    stock
}

/// Both ways in which DEST can be reached.
fn both_ways(test: impl Fn(bool)) {
    test(false);
    test(true);
}

#[test]
fn a_user_who_is_renamed_in_the_first_pass_is_copied_under_the_new_name() {
    both_ways(|remote| {
        let stock = Stock::full(5);
        let before = committed(&stock.file(""));
        let top = tempfile::tempdir().unwrap();
        let copy = top.path().join("copy");
        for (event, left) in [
            (
                [format!("mv {USER} {OTHER}"), "true".to_owned()],
                OTHER.to_owned(),
            ),
            (
                ["true".to_owned(), format!("mv {OTHER} {USER}")],
                USER.to_string(),
            ),
            (
                [format!("mv {USER} {OTHER}"), format!("mv {OTHER} {USER}")],
                USER.to_string(),
            ),
        ] {
            let event = event.each_ref().map(String::as_str);
            let copied = succeeds(copy_amid(
                &stock,
                &copy,
                remote,
                [event[0], event[1], "true"],
            ));
            assert!(copied.stdout.contains("1 user copied"), "{copied:?}");
            assert_eq!(users(&copy), std::slice::from_ref(&left));
            assert_eq!(committed(&copy.join("users").join(&left)), before);
            check(&copy, &CheckOptions::default()).is_spotless();
            fs::remove_dir_all(&copy).unwrap();
        }
    });
}

#[test]
fn a_user_who_is_deleted_meanwhile_is_left_as_the_last_good_copy_was_and_that_is_said() {
    both_ways(|remote| {
        let top = tempfile::tempdir().unwrap();
        for (had, half) in [(true, false), (true, true), (false, true)] {
            let stock = Stock::full(5);
            let copy = top.path().join(format!("{had} {half}"));
            if had {
                succeeds(backup(&stock.data(), &copy));
            }
            let before = had.then(|| contents(&copy));
            stock.advance(transaction(6));
            // Away as a whole; or half of it only when the pass comes to its end.
            let gone = format!("mv {USER} ../trash/{USER}.1");
            let event = match half {
                false => [format!("{gone}; rm -r ../trash/*"), "true".to_owned()],
                true => [
                    format!("{gone}; rm -r ../trash/*/transactions"),
                    "true".to_owned(),
                ],
            };
            let event = event.each_ref().map(String::as_str);
            let copied = succeeds(copy_amid(
                &stock,
                &copy,
                remote,
                [event[0], event[1], "true"],
            ));
            assert!(copied.stderr.contains("deleted meanwhile"), "{copied:?}");
            match before {
                Some(before) => assert_eq!(contents(&copy), before),
                None => assert!(users(&copy).is_empty()),
            }
            check(&copy, &CheckOptions::default()).is_spotless();
        }
    });
}

#[test]
fn a_user_who_is_made_anew_with_the_same_ids_is_copied_as_a_whole() {
    both_ways(|remote| {
        for length in [2, 5, 9] {
            let stock = Stock::full(5);
            let next = another_life(length);
            let top = tempfile::tempdir().unwrap();
            let copy = top.path().join("copy");
            succeeds(backup(&stock.data(), &copy));
            let anew = format!(
                "mv {USER} ../trash/{USER}.1; rm -r ../trash/*; cp -a {} {USER}",
                next.file("").display()
            );
            for event in [[anew.as_str(), "true"], ["true", "true"]] {
                let copied = succeeds(copy_amid(
                    &stock,
                    &copy,
                    remote,
                    [event[0], event[1], "true"],
                ));
                assert!(copied.stdout.contains("1 user copied"), "{copied:?}");
                let held = committed(&copy.join(format!("users/{USER}")));
                for file in committed(&stock.file("")) {
                    assert!(held.contains(&file), "{:?}", file.0);
                }
                sound(&copy);
            }
        }
    });
}

#[test]
fn a_user_whose_name_is_taken_by_another_is_copied_under_the_new_name() {
    both_ways(|remote| {
        let stock = Stock::full(5);
        let next = another_life(3);
        let top = tempfile::tempdir().unwrap();
        let copy = top.path().join("copy");
        let place = next.file("").display().to_string();
        let taken = format!("mv {USER} {OTHER}; cp -a {place} {THIRD}; mv {THIRD} {USER}");
        // After the pass: at that moment the backup has not yet looked what became of them.
        for event in [[taken.as_str(), "true"], ["true", "true"]] {
            succeeds(copy_amid(
                &stock,
                &copy,
                remote,
                [event[0], event[1], "true"],
            ));
            assert_eq!(users(&copy), [USER.to_string(), OTHER.to_owned()]);
            for user in users(&copy) {
                let held = committed(&copy.join("users").join(&user));
                assert_eq!(held, committed(&stock.path("users").join(&user)), "{user}");
            }
            check(&copy, &CheckOptions::default()).is_spotless();
        }
    });
}

#[test]
fn a_user_who_was_copied_and_whose_name_is_taken_after_that_is_copied_again() {
    both_ways(|remote| {
        let stock = Stock::full(5);
        let lives = [3, 4].map(another_life);
        let top = tempfile::tempdir().unwrap();
        let copy = top.path().join("copy");
        let [place, comes] = lives
            .each_ref()
            .map(|life| life.file("").display().to_string());
        // Somebody comes during the first pass, so that there is a second one, in which the first user is not.
        let comes = format!("cp -a {comes} ../tmp/comes; mv ../tmp/comes {THIRD}");
        let taken = format!("mv {USER} {OTHER}; cp -a {place} ../tmp/next; mv ../tmp/next {USER}");
        succeeds(copy_amid(&stock, &copy, remote, [&comes, "true", &taken]));
        assert_eq!(users(&copy), [&USER.to_string(), OTHER, THIRD]);
        for user in users(&copy) {
            let held = committed(&copy.join("users").join(&user));
            for file in committed(&stock.path("users").join(&user)) {
                assert!(held.contains(&file), "{user}: {:?}", file.0);
            }
        }
        sound(&copy);
    });
}

#[test]
fn what_is_damaged_in_the_source_never_takes_the_place_of_a_good_copy() {
    let damages: [(&str, fn(&Stock)); 6] = [
        ("a chunk is missing", |stock| {
            fs::remove_file(stock.chunk_file("", "pending")).unwrap()
        }),
        ("HEAD's transaction is missing", |stock| {
            fs::remove_file(stock.transaction_file(6)).unwrap();
        }),
        ("HEAD's transaction is cut short", |stock| {
            fs::write(stock.transaction_file(6), "{").unwrap();
        }),
        ("HEAD is no id", |stock| {
            fs::write(stock.file("HEAD"), "?").unwrap()
        }),
        ("HEAD is missing", |stock| {
            fs::remove_file(stock.file("HEAD")).unwrap()
        }),
        ("HEAD leads nowhere", |stock| {
            fs::write(stock.file("HEAD"), format!("{}\n", transaction(77))).unwrap();
        }),
    ];
    for (words, damage) in damages {
        let stock = Stock::full(5);
        let top = tempfile::tempdir().unwrap();
        let copy = top.path().join("copy");
        succeeds(backup(&stock.data(), &copy));
        let before = contents(&copy);
        stock.advance(transaction(6));
        damage(&stock);
        let well = stock.path(&format!("users/{OTHER}"));
        let other = another_life(3);
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([other.file(""), well.clone()])
            .status();
        assert!(copied.unwrap().success());
        let told = backup(&stock.data(), &copy);
        assert_eq!(told.code, Some(1), "{words}: {told:?}");
        assert!(told.stderr.contains(&USER.to_string()), "{words}: {told:?}");
        // The other user is copied all the same.
        assert_eq!(
            committed(&copy.join("users").join(OTHER)),
            committed(&well),
            "{words}"
        );
        fs::remove_dir_all(copy.join("users").join(OTHER)).unwrap();
        assert_eq!(contents(&copy), before, "{words}");
        sound(&copy);
    }
}

#[test]
fn a_first_copy_of_a_damaged_source_leaves_the_damaged_one_out_and_says_so() {
    let stock = Stock::full(5);
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    let told = backup(&stock.data(), &copy);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(
        told.stderr.contains("missing or damaged in DATA"),
        "{told:?}"
    );
    assert!(users(&copy).is_empty());
    check(&copy, &CheckOptions::default()).is_spotless();
}

#[test]
fn a_chunk_that_rotted_in_the_copy_is_mended_from_the_source() {
    let stock = Stock::full(5);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    let chunk = stock.chunk_file("", "chunk 3");
    let rotten = copy.join(chunk.strip_prefix(stock.data()).unwrap());
    fs::write(&rotten, "rotten!").unwrap();
    succeeds(backup(&stock.data(), &copy));
    assert_eq!(fs::read(&rotten).unwrap(), b"chunk 3");
    check(&copy, &CheckOptions::default()).is_spotless();
}

#[test]
fn users_who_are_gone_from_the_source_stay_in_the_copy_and_are_counted() {
    let stock = Stock::full(5);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    fs::rename(stock.file(""), stock.path(&format!("users/{OTHER}"))).unwrap();
    let told = succeeds(backup(&stock.data(), &copy));
    let words = "users that DATA has no more, and DEST has as they were: 1\n";
    assert!(told.stderr.contains(words), "{told:?}");
    assert_eq!(users(&copy), [USER.to_string(), OTHER.to_owned()]);
    check(&copy, &CheckOptions::default()).is_spotless();
}
