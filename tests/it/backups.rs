//! Copies of a store that is being written to.
//!
//! `MENTAT_SYNC_TEST_COPIES` says how many by each method (`scripts/backup-test` sets it).

mod command;
mod drill;
mod linked;
mod meanwhile;
mod odd;
mod upheaval;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::kit::{
    Device, Finished, ROOT, Server, binary, chunk, effort, run_with_deadline, skipped,
    transaction_id, user_id,
};
use crate::stock::{Seen, Stock, StopAtEnd, USER, alias, check, renames, transaction};
use mentat_sync::upkeep::fsck::{CheckOptions, Kind};

/// Users who are written to.
const WRITERS: [&str; 2] = ["ada", "ben"];

/// The archive (copies.md, With tar) of `$0`, unpacked in `$1`. Exit status 1 of tar's is fine where a file changed while it was read;
/// where one was removed, the archive is to be taken again.
const TAR: &str = "tar c --sort=name --hard-dereference --exclude=incoming --exclude=tmp --exclude=trash \
                   --exclude=./last-copy --exclude=./serving -C \"$0\" . 2>\"$1.log\" | tar x -C \"$1\"; set -- \"$1.log\" ${PIPESTATUS[@]}; \
                   cat \"$1\" >&2; [ $2 -le 1 ] && [ $3 = 0 ] && ! grep -v 'changed as we read it$' \"$1\"";

/// The number of copies by each method.
fn copies() -> usize {
    effort::chosen("MENTAT_SYNC_TEST_COPIES").unwrap_or(effort::either(2, 4))
}

/// A backup of this data directory to this place.
fn backup_to(source: &Path, destination: impl AsRef<OsStr>) -> Command {
    let mut command = binary();
    command.args(["backup", "--data"]);
    command.arg(source).arg(destination);
    command
}

fn backup(source: &Path, destination: &Path) -> Finished {
    run_with_deadline(&mut backup_to(source, destination))
}

#[track_caller]
fn succeeds(finished: Finished) -> Finished {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

/// The id of this user's transaction of this number.
fn id(user: &str, seq: u64) -> String {
    transaction_id(&format!("{user} {seq}"))
}

/// Runs something while each of [`WRITERS`] advances as fast as it can. What is run is given how many
/// advances of each were acknowledged so far.
fn beside_writers<T>(server: &Server, run: impl FnOnce(&[AtomicU64; 2]) -> T) -> T {
    let acknowledged = [const { AtomicU64::new(0) }; 2];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (user, count) in WRITERS.iter().zip(&acknowledged) {
            let stop = &stop;
            scope.spawn(move || {
                let mut device = server.device(user);
                let mut parent = ROOT.to_owned();
                for seq in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let next = id(user, seq);
                    let own = chunk(format!("{user} {seq}"));
                    let shared = chunk(format!("one in ten {}", seq / 10));
                    device.commit(&next, &parent, &[&own, &shared]);
                    count.store(seq, Ordering::SeqCst);
                    parent = next;
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        while acknowledged
            .iter()
            .any(|count| count.load(Ordering::SeqCst) < 5)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        run(&acknowledged)
    })
}

/// Fsck finds no damage.
#[track_caller]
fn sound(copy: &Path) -> Seen {
    let seen = check(copy, &CheckOptions::default());
    // What lies in `log` after HEAD, and in the committed area off the chain, is younger than HEAD was.
    // A bundle has no log, and modes as tar makes them.
    let expected = |kind| {
        use Kind::{LogShort, LogTail, ModeLoose, OffChain};
        matches!(kind, LogTail | OffChain | ModeLoose | LogShort)
    };
    assert!(seen.findings.iter().all(|f| expected(f.kind)), "{seen:#?}");
    seen
}

/// The copy is a sound store that a server serves, and holds so many transactions of each writer, or more.
#[track_caller]
fn holds(copy: &Arc<TempDir>, at_least: [u64; 2]) {
    sound(&copy.path().join("data"));
    let server = Server::on(Arc::clone(copy), &[]);
    for (user, at_least) in WRITERS.into_iter().zip(at_least) {
        let mut device = server.device(user);
        let (head, seq) = device.head();
        assert!(seq >= at_least, "{seq} of {at_least}");
        assert_eq!(head, id(user, seq));
        let chain = device.chain_after(ROOT);
        let expected: Vec<_> = (1..=seq).map(|seq| id(user, seq)).collect();
        assert_eq!(chain, expected);
        device.get(&format!("transactions/{head}")).expect(200);
        let newest = chunk(format!("{user} {seq}"));
        assert_eq!(
            device.get(&format!("chunks/{}", newest.id)).body,
            newest.bytes
        );
        // It is a store like any other: it goes on from there.
        device.commit(&transaction_id("later"), &head, &[&chunk("later")]);
    }
    server.stop();
}

/// Takes copies beside the writers, each into a directory of its own, and looks at each.
fn copies_hold_what_was_acknowledged(copy: impl Fn(&Server, &Path)) {
    let server = Server::start();
    let taken = beside_writers(&server, |acknowledged| {
        let take = |_| {
            let before = acknowledged
                .each_ref()
                .map(|count| count.load(Ordering::SeqCst));
            let top = Arc::new(tempfile::tempdir().unwrap());
            copy(&server, &top.path().join("data"));
            (top, before)
        };
        (0..copies()).map(take).collect::<Vec<_>>()
    });
    assert_eq!(server.stop().code(), Some(0));
    let number = taken.len();
    for (top, before) in taken {
        holds(&top, before);
    }
    println!("{number} copies, {number} sound");
}

#[test]
fn copies_by_backup_hold_every_advance_acknowledged_before() {
    copies_hold_what_was_acknowledged(|server, destination| {
        succeeds(backup(&server.data(), destination));
        assert!(!sound(destination).kinds().contains(&"log-short"));
    });
}

#[test]
fn copies_by_tar_in_the_order_of_names_hold_every_advance_acknowledged_before() {
    copies_hold_what_was_acknowledged(|server, destination| {
        fs::create_dir(destination).unwrap();
        let tar = run_with_deadline(
            Command::new("bash")
                .args(["-c", TAR])
                .arg(server.data())
                .arg(destination),
        );
        succeeds(tar);
    });
}

#[test]
fn no_member_of_an_archive_is_a_link() {
    // Else a file that was given the inode of one archived before, and two names, would be stored as a link to that.
    let page = include_str!("../../src/docs/copies.md");
    let recipe = page
        .lines()
        .find_map(|line| line.strip_prefix("$ tar c --sort=name"));
    let recipe = format!("tar c --sort=name{}", recipe.expect("the page has it"));
    let archive = TAR.split_once(" -C ").unwrap().0;
    assert!(
        recipe.starts_with(archive),
        "the test's archive is the one of copies.md"
    );
    let stock = Stock::full(3);
    let other = stock.path("users/86868686-8686-4686-8686-868686868686");
    let mut linked = Command::new("cp");
    linked.arg("-al").arg(stock.file("")).arg(&other);
    assert!(linked.status().unwrap().success());
    let script = format!("{recipe} && tar tv <backup.tar");
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .current_dir(stock.directory.path());
    let members = succeeds(run_with_deadline(&mut command)).stdout;
    assert!(members.lines().count() > 20, "{members}");
    assert!(
        members.lines().all(|line| !line.starts_with('h')),
        "{members}"
    );
}

#[test]
fn snapshots_hold_every_advance_acknowledged_before() {
    // On the file system of the data directory, as hard links must be.
    copies_hold_what_was_acknowledged(|server, destination| {
        let mut command = binary();
        let taken = run_with_deadline(
            command
                .args(["snapshot", "--data"])
                .arg(server.data())
                .arg(destination),
        );
        succeeds(taken);
    });
}

#[test]
fn bundles_hold_every_advance_acknowledged_before() {
    copies_hold_what_was_acknowledged(|server, destination| {
        for user in WRITERS {
            let folder = destination.join("users").join(user_id(user));
            fs::create_dir_all(&folder).unwrap();
            let bundle = server.device(user).get("bundle").expect(200);
            let tar = destination.join("bundle.tar");
            fs::write(&tar, bundle.body).unwrap();
            let mut command = Command::new("tar");
            command.arg("-xf").arg(&tar).arg("-C").arg(&folder);
            succeeds(run_with_deadline(&mut command));
            fs::remove_file(tar).unwrap();
        }
        fs::write(destination.join("FORMAT"), "mentat-sync 1\n").unwrap();
    });
}

#[test]
fn a_copy_that_is_brought_up_again_and_again_is_sound_every_time() {
    let server = Server::start();
    let top = Arc::new(tempfile::tempdir().unwrap());
    let destination = top.path().join("data");
    let last = beside_writers(&server, |acknowledged| {
        let mut before = [0; 2];
        for _ in 0..copies() {
            before = acknowledged
                .each_ref()
                .map(|count| count.load(Ordering::SeqCst));
            succeeds(backup(&server.data(), &destination));
            sound(&destination);
        }
        before
    });
    holds(&top, last);
}

#[test]
fn a_copy_that_is_killed_at_any_moment_leaves_a_sound_store() {
    let server = Server::start();
    let top = Arc::new(tempfile::tempdir().unwrap());
    let destination = top.path().join("data");
    let before = beside_writers(&server, |acknowledged| {
        succeeds(backup(&server.data(), &destination));
        let mut killed = 0;
        for round in 0..4 * copies() as u64 {
            let after = Duration::from_millis(7 + 13 * round);
            killed += u32::from(killed_backup(&server.data(), &destination, after));
            sound(&destination);
        }
        assert!(killed > 0);
        let before = acknowledged
            .each_ref()
            .map(|count| count.load(Ordering::SeqCst));
        succeeds(backup(&server.data(), &destination));
        before
    });
    let seen = sound(&destination);
    assert!(!seen.kinds().contains(&"stranger"), "{seen:#?}");
    holds(&top, before);
}

/// Runs a backup and kills it, with all that it started, after this time; says whether it was still running.
fn killed_backup(source: &Path, destination: &Path, after: Duration) -> bool {
    let mut command = backup_to(source, destination);
    command.process_group(0);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    let running = child.try_wait().unwrap().is_none();
    let group = rustix::process::Pid::from_child(&child);
    // Fails where nothing of it is left.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().unwrap();
    running
}

#[test]
fn a_first_copy_that_is_killed_is_no_store_until_it_is_finished() {
    let stock = Stock::full(3);
    let top = tempfile::tempdir().unwrap();
    let mut unfinished = 0;
    for round in 0..4 * copies() as u64 {
        let destination = top.path().join(round.to_string());
        killed_backup(
            &stock.data(),
            &destination,
            Duration::from_millis(5 + 17 * round),
        );
        if !destination.join("FORMAT").exists() {
            unfinished += 1;
            let users = destination.join("users");
            if fs::read_dir(users).is_ok_and(|mut users| users.next().is_some()) {
                let mut serve = binary();
                serve
                    .args(["serve", "--listen", "127.0.0.1:0", "--data"])
                    .arg(&destination);
                let refused = run_with_deadline(&mut serve);
                assert_eq!(refused.code, Some(1), "{refused:?}");
                assert!(refused.stderr.contains("no file FORMAT"), "{refused:?}");
            }
        }
        succeeds(backup(&stock.data(), &destination));
        check(&destination, &CheckOptions::default()).is_spotless();
    }
    assert!(unfinished > 0);
}

#[test]
fn a_user_who_is_new_comes_into_the_copy_as_a_whole() {
    let stock = Stock::full(3);
    let top = tempfile::tempdir().unwrap();
    let destination = top.path().join("data");
    succeeds(backup(&stock.data(), &destination));
    let mut killed = 0;
    for round in 0..4 * copies() as u64 {
        let next = stock.path(&format!("users/86868686-8686-4686-8686-{round:012x}"));
        let copied = Command::new("cp")
            .arg("-a")
            .arg(stock.file(""))
            .arg(&next)
            .status();
        assert!(copied.unwrap().success());
        let after = Duration::from_millis(30 + 17 * round);
        killed += u32::from(killed_backup(&stock.data(), &destination, after));
        check(&destination, &CheckOptions::default()).is_spotless();
    }
    assert!(killed > 0);
    succeeds(backup(&stock.data(), &destination));
    let seen = check(&destination, &CheckOptions::default());
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1 + 4 * copies() as u64);
}

#[test]
fn what_a_power_cut_left_empty_of_an_interrupted_copy_is_copied_again() {
    let stock = Stock::full(4);
    let top = tempfile::tempdir().unwrap();
    let destination = top.path().join("data");
    succeeds(backup(&stock.data(), &destination));
    stock.advance(transaction(5));
    let next = stock.path("users/86868686-8686-4686-8686-868686868686");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(stock.file(""))
        .arg(&next)
        .status();
    assert!(copied.unwrap().success());
    // The next copy got as far as this, and then the machine went down: another boot, and names without bytes.
    let tmp = destination.join("tmp/backup");
    fs::create_dir_all(tmp.join("new")).unwrap();
    fs::write(tmp.join("started"), "another boot\n").unwrap();
    let known = stock.chunk_file("", "pending");
    let known = destination.join(known.strip_prefix(stock.data()).unwrap());
    let chunk = stock.chunk_file("", "chunk 2");
    let new = tmp.join("new").join(next.file_name().unwrap());
    let new = new.join(chunk.strip_prefix(stock.file("")).unwrap());
    for torn in [&known, &new] {
        fs::create_dir_all(torn.parent().unwrap()).unwrap();
        fs::write(torn, "").unwrap();
    }
    // This one is as long and as old as it should be, so that nothing but its bytes tells.
    fs::write(&new, "\0\0\0\0\0\0\0").unwrap();
    let meta = fs::metadata(stock.chunk_file("", "chunk 2")).unwrap();
    let file = fs::File::options().write(true).open(&new).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    succeeds(backup(&stock.data(), &destination));
    let seen = sound(&destination);
    assert_eq!(seen.summary.users, 2);
    // As this test made them.
    assert!(
        seen.kinds().iter().all(|kind| *kind == "mode-loose"),
        "{seen:#?}"
    );
}

#[test]
fn what_a_killed_rsync_was_at_is_not_copied() {
    let stock = Stock::full(3);
    let top = tempfile::tempdir().unwrap();
    let destination = top.path().join("data");
    let new = destination.join("tmp/backup/new").join(USER.to_string());
    let chunk = stock.chunk_file("", "chunk 2");
    let shelf = new.join(
        chunk
            .parent()
            .unwrap()
            .strip_prefix(stock.file(""))
            .unwrap(),
    );
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    for _ in ["a first copy", "one of a store that is there"] {
        fs::create_dir_all(&shelf).unwrap();
        fs::write(destination.join("tmp/backup/started"), &boot).unwrap();
        for left in [
            new.join(".log.JZ7WGg"),
            new.join(".name.a1b2c3"),
            shelf.join(".00.Zz9y8x"),
        ] {
            fs::write(left, "torn").unwrap();
        }
        succeeds(backup(&stock.data(), &destination));
        let kinds = sound(&destination).kinds();
        // As this test made them.
        assert!(kinds.iter().all(|kind| *kind == "mode-loose"), "{kinds:?}");
        stock.advance(transaction(4));
    }
}

/// A directory with an `ssh` in it that runs on this machine what it would on another.
pub fn other_machine() -> TempDir {
    let bin = tempfile::tempdir().unwrap();
    let ssh = bin.path().join("ssh");
    // CheckOptions (each with its value), the host, and the command, which ssh joins with blanks for a shell there.
    let text = "#!/bin/sh\nwhile :; do case $1 in -*) shift 2;; *) break;; esac; done\n\
                [ \"$1\" = box ] || { echo \"unknown host $1\" >&2; exit 255; }\nshift\n\
                cd / && exec sh -c \"$*\"\n";
    fs::write(&ssh, text).unwrap();
    fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn copies_go_to_another_machine_and_come_back() {
    let server = Server::start();
    let bin = other_machine();
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap()
    );
    let away = tempfile::tempdir().unwrap();
    // With all that a shell could take amiss.
    let there = away.path().join("a 'b' $c");
    let back = Arc::new(tempfile::tempdir().unwrap());
    let before = beside_writers(&server, |acknowledged| {
        let mut before = [0; 2];
        for _ in 0..copies() {
            before = acknowledged
                .each_ref()
                .map(|count| count.load(Ordering::SeqCst));
            let remote = format!("box:{}", there.display());
            let mut command = backup_to(&server.data(), &remote);
            succeeds(run_with_deadline(command.env("PATH", &path)));
            sound(&there);
        }
        before
    });
    // Nobody writes to it, so that it comes back as any directory does.
    let mut command = Command::new("rsync");
    command.arg("-a").arg(format!("box:{}/", there.display()));
    command.arg(back.path().join("data")).env("PATH", &path);
    succeeds(run_with_deadline(&mut command));
    holds(&back, before);
}

#[test]
fn a_backup_refuses_what_is_no_store_and_what_is_no_copy() {
    let top = tempfile::tempdir().unwrap();
    let (empty, full) = (top.path().join("empty"), top.path().join("full"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "dear").unwrap();
    let stock = Stock::full(2);
    for (source, destination, words) in [
        (&empty, &full, "no store"),
        (&stock.data(), &full, "not empty"),
        (&top.path().join("nothing"), &empty, "no store"),
    ] {
        let refused = backup(source, destination);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let newer = Stock::full(2);
    fs::write(newer.path("FORMAT"), "mentat-sync 2\n").unwrap();
    assert_eq!(backup(&newer.data(), &empty).code, Some(1));
    assert_eq!(backup(&stock.data(), &newer.data()).code, Some(1));
    let usage = run_with_deadline(binary().arg("backup"));
    assert_eq!(usage.code, Some(2), "{usage:?}");
}

#[test]
fn what_a_copy_has_of_a_chunk_stays_whatever_becomes_of_the_source() {
    let stock = Stock::full(4);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("data");
    succeeds(backup(&stock.data(), &copy));
    sound(&copy);
    assert!(
        !copy
            .join("users")
            .join(USER.to_string())
            .join("incoming")
            .exists()
    );
    fs::write(stock.chunk_file("", "chunk 2"), "rotten!").unwrap();
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    succeeds(backup(&stock.data(), &copy));
    sound(&copy);
}

#[test]
fn a_copy_follows_a_transaction_that_was_put_in_place_of_one_off_the_chain() {
    let stock = Stock::full(4);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("data");
    // As after an advance that did not come to its end, of other content under the id that comes to be HEAD.
    let place = stock.transaction_file(5);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let pending = fs::read_to_string(stock.pending_file(5)).unwrap();
    let digest = |text: &str| crate::kit::digest(text.as_bytes());
    let other = pending.replace(&digest("pending"), &digest("shared"));
    assert_ne!(other, pending);
    fs::write(&place, other).unwrap();
    succeeds(backup(&stock.data(), &copy));
    stock.advance(transaction(5));
    succeeds(backup(&stock.data(), &copy));
    sound(&copy);
    assert_eq!(fs::read(&place).unwrap(), pending.as_bytes());
}

#[test]
fn a_user_who_is_renamed_meanwhile_is_in_the_copy_under_one_name_or_the_other() {
    let stock = Stock::new();
    stock.chain(40);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        scope.spawn(|| renames(&stock, &stop, Duration::from_millis(400)));
        for round in 0..copies() {
            let top = tempfile::tempdir().unwrap();
            let [by_script, by_links] = ["script", "links"].map(|name| top.path().join(name));
            let copied = backup(&stock.data(), &by_script);
            if copied.code == Some(0) {
                assert!(
                    sound(&by_script).summary.transactions >= 40,
                    "{round}: {copied:?}"
                );
            } else {
                assert!(copied.stderr.contains("renamed all the time"), "{copied:?}");
            }
            let mut command = binary();
            command
                .args(["snapshot", "--data"])
                .arg(stock.data())
                .arg(&by_links);
            succeeds(run_with_deadline(&mut command));
            assert!(sound(&by_links).summary.transactions >= 40);
        }
    });
}

/// Takes a snapshot.
fn snapshot(stock: &Stock, destination: &Path) -> Finished {
    let mut command = binary();
    command
        .args(["snapshot", "--data"])
        .arg(stock.data())
        .arg(destination);
    run_with_deadline(&mut command)
}

#[test]
fn a_snapshot_copies_no_chunk_and_is_not_changed_by_what_comes_after() {
    let stock = Stock::full(4);
    stock.put(b"by another name", alias(9));
    let copy = stock.directory.path().join("copy");
    let taken = succeeds(snapshot(&stock, &copy));
    // 4 transactions with a chunk each, the shared chunk, the alias and its chunk.
    assert_eq!(
        taken.stdout,
        format!("{}: 1 user, 11 files\n", copy.display())
    );
    check(&copy, &CheckOptions::default()).is_spotless();
    let inside = |path: &Path| copy.join(path.strip_prefix(stock.data()).unwrap());
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let chunk = stock.chunk_file("", "chunk 2");
    assert_eq!(inode(&chunk), inode(&inside(&chunk)));
    let log = stock.file("log");
    assert_ne!(inode(&log), inode(&inside(&log)));
    assert!(!inside(&stock.file("incoming")).exists());

    let before = contents(&copy);
    stock.advance(transaction(5));
    stock.chunk("shared");
    stock.pending(7, transaction(5), &[stock.chunk("more")]);
    stock.advance(transaction(7));
    stock.repair();
    assert_eq!(contents(&copy), before);
}

/// Every file's bytes, by its path.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for (path, look) in crate::kit::tree(directory) {
        if look.kind == 'f' {
            found.push((path.clone().into(), fs::read(directory.join(path)).unwrap()));
        }
    }
    found
}

#[test]
fn a_snapshot_goes_to_an_empty_place_outside_on_the_same_file_system() {
    let stock = Stock::full(2);
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let cases = [
        (stock.path("users"), 2, "is in the data directory"),
        (stock.path("new/one"), 2, "is in the data directory"),
        (stock.directory.path().to_owned(), 2, "is not empty"),
        (other.path().join("new"), 1, "use `mentat-sync backup`"),
    ];
    for (place, code, words) in cases {
        if code == 1 && device(other.path()) == device(&stock.data()) {
            skipped(
                "a snapshot to another file system",
                "/dev/shm is on the same one",
            );
            continue;
        }
        let refused = snapshot(&stock, &place);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    stock.check().is_spotless();
}

#[test]
fn a_user_whose_head_is_damaged_does_not_keep_the_others_out_of_a_snapshot() {
    let stock = Stock::full(2);
    let other = stock.path("users/86868686-8686-4686-8686-868686868686");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(stock.file(""))
        .arg(&other)
        .status()
        .unwrap();
    assert!(copied.success());
    fs::write(other.join("HEAD"), "?").unwrap();
    let copy = stock.directory.path().join("copy");
    let taken = snapshot(&stock, &copy);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(
        taken
            .stderr
            .contains("86868686-8686-4686-8686-868686868686 is not in the snapshot")
    );
    let seen = check(&copy, &CheckOptions::default());
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1);
}

#[test]
fn a_snapshot_of_a_damaged_store_says_so() {
    let stock = Stock::full(4);
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    let copy = stock.directory.path().join("copy");
    let taken = snapshot(&stock, &copy);
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(taken.stderr.contains("chunk-missing: users/"), "{taken:?}");
    assert!(
        taken
            .stderr
            .contains("1 piece of damage, in the store as in the snapshot"),
        "{taken:?}"
    );
    // What there is, is in it.
    assert_eq!(
        check(&copy, &CheckOptions::default()).words(),
        ["damage chunk-missing"]
    );
}

#[test]
fn the_drill_proves_a_copy_and_leaves_it_as_it_is() {
    let stock = Stock::full(6);
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    let drill = |copy: &Path| run_with_deadline(binary().arg("drill").arg(copy));
    let before = contents(&copy);
    let proved = succeeds(drill(&copy));
    let words = "sound: 1 user, 6 transactions and 8 chunks pulled";
    assert!(proved.stdout.contains(words), "{proved:?}");
    assert_eq!(contents(&copy), before);
    assert_eq!(
        fs::read_dir(top.path()).unwrap().count(),
        1,
        "it cleans up after itself"
    );

    let damaged = stock.chunk_file("", "chunk 4");
    let damaged = copy.join(damaged.strip_prefix(stock.data()).unwrap());
    fs::write(&damaged, "chunk 5").unwrap();
    let failed = drill(&copy);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("fsck finds damage"), "{failed:?}");
    assert_eq!(drill(top.path()).code, Some(1));
}

#[test]
fn a_device_that_was_ahead_of_a_restored_copy_goes_on_from_it() {
    let stock = Stock::full(4);
    let top = Arc::new(tempfile::tempdir().unwrap());
    let copy = top.path().join("data");
    succeeds(backup(&stock.data(), &copy));
    stock.advance(transaction(5));
    let server = Server::on(top, &["--uuid-chunk-ids"]);
    let mut device = Device::new(server.address(), &USER.to_string());
    assert_eq!(device.head(), (transaction(4).to_string(), 4));
    let pending = chunk("pending");
    let fifth = transaction(5).to_string();
    device.commit(&fifth, &transaction(4).to_string(), &[&pending]);
    assert_eq!(device.head(), (fifth, 5));
}
