//! `mentat-sync backup` as a timer or a person runs it: what it says, how it ends, whose its files are, and the mark it leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{backup, backup_to, contents, other_machine, sound, succeeds};
use crate::full_disk::in_own_namespace;
use crate::kit::{Finished, Server, binary, run_with_deadline, tree};
use crate::stock::{Stock, USER, check, transaction};
use mentat_sync::upkeep::fsck::CheckOptions;

/// A stock and a place for its copy.
fn stock_and_place() -> (Stock, tempfile::TempDir) {
    (Stock::full(3), tempfile::tempdir().unwrap())
}

fn mark(stock: &Stock) -> Option<String> {
    fs::read_to_string(stock.path("last-copy")).ok()
}

#[track_caller]
fn refused(finished: Finished, code: i32, words: &str) -> Finished {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stderr.contains(words), "{finished:?}");
    finished
}

#[test]
fn quiet_says_nothing_when_all_is_well_and_hides_no_failure() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    let quiet = || run_with_deadline(backup_to(&stock.data(), &copy).arg("--quiet"));
    for _ in 0..2 {
        let told = succeeds(quiet());
        assert_eq!((told.stdout, told.stderr), (String::new(), String::new()));
    }
    // Somebody who is gone from DATA is no failure either.
    let other = stock.path("users/86868686-8686-4686-8686-868686868686");
    fs::rename(stock.file(""), &other).unwrap();
    let told = succeeds(quiet());
    assert_eq!((told.stdout, told.stderr), (String::new(), String::new()));
    fs::write(other.join("HEAD"), "?").unwrap();
    let told = refused(
        quiet(),
        1,
        "user 86868686-8686-4686-8686-868686868686 is not",
    );
    assert_eq!(told.stdout, "");
    fs::write(copy.join("FORMAT"), "mentat-sync 2\n").unwrap();
    refused(quiet(), 1, "another FORMAT");
}

#[test]
fn json_is_one_object_also_where_a_user_is_left_out() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    let json = |code| {
        let told = run_with_deadline(backup_to(&stock.data(), &copy).arg("--json"));
        assert_eq!(told.code, Some(code), "{told:?}");
        assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
        serde_json::from_str::<serde_json::Value>(&told.stdout).unwrap()
    };
    let said = json(0);
    assert_eq!(said["ok"], true);
    assert_eq!(said["users"], 1);
    assert_eq!(
        format!("{}\n", said["time"].as_str().unwrap()),
        mark(&stock).unwrap()
    );
    fs::remove_file(stock.file("HEAD")).unwrap();
    let said = json(1);
    assert_eq!(said["ok"], false);
    assert_eq!(said["users"], 0);
    let left = &said["left"][USER.to_string()];
    assert!(left.as_str().unwrap().contains("HEAD"), "{said}");
}

#[test]
fn it_works_as_cron_runs_it_and_under_any_umask_and_where_its_directory_is_gone() {
    let (stock, top) = stock_and_place();
    let program = binary().get_program().to_owned();
    for (umask, script) in [
        ("022", "exec \"$0\" \"$@\""),
        ("000", "exec \"$0\" \"$@\""),
        ("777", "exec \"$0\" \"$@\""),
        (
            "022",
            "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" \"$@\"",
        ),
    ] {
        let copy = top.path().join("copy");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("umask {umask} && {script}")]);
        command.arg(&program).args(["backup", "--quiet", "--data"]);
        command.arg(stock.data()).arg(&copy);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(top.path());
        let told = succeeds(run_with_deadline(&mut command));
        assert_eq!((told.stdout, told.stderr), (String::new(), String::new()));
        // As a server makes them, and so does fsck say nothing of modes.
        check(&copy, &CheckOptions::default()).is_spotless();
        check(&stock.data(), &CheckOptions::default()).is_spotless();
        for (path, look) in tree(&copy) {
            let mode = fs::symlink_metadata(copy.join(&path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777;
            let expected = if look.kind == 'd' { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{path} under umask {umask}");
        }
        fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn without_rsync_it_says_so_with_status_3_and_makes_nothing() {
    let (stock, top) = stock_and_place();
    let bin = tempfile::tempdir().unwrap();
    for program in ["sh", "env", "mkdir", "flock", "cat", "ls", "grep"] {
        let found =
            run_with_deadline(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
        symlink(found.stdout.trim_end(), bin.path().join(program)).unwrap();
    }
    let copy = top.path().join("copy");
    let told = run_with_deadline(backup_to(&stock.data(), &copy).env("PATH", bin.path()));
    refused(told, 3, "rsync is not here: install it");
    // Over there; and without ssh.
    let remote = format!("box:{}", copy.display());
    let told = run_with_deadline(backup_to(&stock.data(), &remote).env("PATH", bin.path()));
    refused(told, 3, "ssh is not here: install it");
    let ssh = other_machine();
    symlink(ssh.path().join("ssh"), bin.path().join("ssh")).unwrap();
    let told = run_with_deadline(backup_to(&stock.data(), &remote).env("PATH", bin.path()));
    refused(told, 3, "rsync is not there: install it");
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
    assert_eq!(mark(&stock), None);
}

#[test]
fn a_machine_that_ssh_does_not_reach_is_a_failure_in_the_words_of_ssh() {
    let (stock, _top) = stock_and_place();
    let ssh = other_machine();
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = backup_to(&stock.data(), "nobody:copy");
    let told = run_with_deadline(command.arg("--quiet").env("PATH", path));
    let told = refused(told, 1, "unknown host nobody");
    assert!(told.stderr.contains("ssh does not get there"), "{told:?}");
    for no_place in ["", "box:", ":copy", "box::module", "a b:c"] {
        let told = run_with_deadline(&mut backup_to(&stock.data(), no_place));
        assert_eq!(told.code, Some(2), "{no_place}: {told:?}");
    }
}

#[test]
fn a_failing_rsync_is_a_failure_that_says_why_and_what_was_there_stays() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    let before = (contents(&copy.join("users")), mark(&stock));
    stock.advance(transaction(4));
    let bin = tempfile::tempdir().unwrap();
    let rsync = bin.path().join("rsync");
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap()
    );
    for (status, words) in [
        (11, "is the disk full?"),
        (12, "the connection broke"),
        (20, "interrupted"),
    ] {
        let text = format!("#!/bin/sh\necho 'rsync: so it is' >&2\nexit {status}\n");
        fs::write(&rsync, text).unwrap();
        fs::set_permissions(&rsync, PermissionsExt::from_mode(0o755)).unwrap();
        let told = run_with_deadline(backup_to(&stock.data(), &copy).env("PATH", &path));
        let told = refused(told, 1, words);
        assert!(told.stderr.contains("rsync: so it is"), "{told:?}");
        assert_eq!((contents(&copy.join("users")), mark(&stock)), before);
    }
    succeeds(backup(&stock.data(), &copy));
}

#[test]
fn neither_directory_may_be_in_the_other_by_whatever_path() {
    let (stock, _top) = stock_and_place();
    let data = stock.data();
    symlink(&data, stock.directory.path().join("link")).unwrap();
    let before = tree(stock.directory.path());
    for (place, words) in [
        (data.clone(), "is in the data directory"),
        (data.join("copy"), "is in the data directory"),
        (data.join("users/new/one"), "is in the data directory"),
        (
            stock.directory.path().join("link/copy"),
            "is in the data directory",
        ),
        (data.join("../data"), "is in the data directory"),
        (
            stock.directory.path().to_owned(),
            "the data directory is in",
        ),
        (Path::new("/").to_owned(), "the data directory is in"),
    ] {
        refused(backup(&data, &place), 2, words);
    }
    let mut relative = backup_to(&data, ".");
    let told = run_with_deadline(relative.current_dir(stock.directory.path()));
    refused(told, 2, "the data directory is in");
    assert_eq!(tree(stock.directory.path()), before);
}

#[test]
fn a_fresh_disk_takes_a_copy_and_one_that_a_server_serves_does_not() {
    let (stock, top) = stock_and_place();
    // As mkfs leaves it.
    let disk = top.path().join("disk");
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    succeeds(backup(&stock.data(), &disk));
    fs::write(disk.join("serving"), "http://127.0.0.1:8000\n").unwrap();
    let before = tree(&disk);
    refused(backup(&stock.data(), &disk), 1, "a server serves it");
    assert_eq!(tree(&disk), before);
}

/// An rsync in this directory that never comes to its end: a PATH with it, and the file that it leaves when it begins.
fn endless_rsync(bin: &Path) -> (String, PathBuf) {
    let (rsync, begun) = (bin.join("rsync"), bin.join("begun"));
    let script = format!("#!/bin/sh\n: >'{}'\nexec sleep 60\n", begun.display());
    fs::write(&rsync, script).unwrap();
    fs::set_permissions(&rsync, PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    (format!("{}:{path}", bin.display()), begun)
}

#[test]
fn a_second_copy_to_one_place_is_refused_and_a_killed_one_is_not_in_the_way() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    stock.advance(transaction(4));
    let bin = tempfile::tempdir().unwrap();
    let (path, begun) = endless_rsync(bin.path());
    let mut first = backup_to(&stock.data(), &copy);
    first.env("PATH", path).stderr(Stdio::null());
    let mut first = first.spawn().unwrap();
    while !begun.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    refused(backup(&stock.data(), &copy), 1, "another copy to");
    // Its rsync lives on, since nothing but the program itself was killed.
    first.kill().unwrap();
    first.wait().unwrap();
    succeeds(backup(&stock.data(), &copy));
    assert_eq!(sound(&copy).summary.transactions, 4);
}

#[test]
fn a_copy_that_is_told_to_stop_leaves_nothing_among_temporary_files() {
    let (stock, top) = stock_and_place();
    let bin = tempfile::tempdir().unwrap();
    let (path, begun) = endless_rsync(bin.path());
    let tmp = tempfile::tempdir().unwrap();
    let mut command = backup_to(&stock.data(), top.path().join("copy"));
    command.env("PATH", path).env("TMPDIR", tmp.path());
    let mut child = command.spawn().unwrap();
    while !begun.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn a_good_copy_is_noted_in_the_data_directory_and_no_other() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    let seconds = || {
        let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        passed.unwrap().as_secs()
    };
    let before = seconds();
    succeeds(backup(&stock.data(), &copy));
    let after = seconds();
    let line = mark(&stock).unwrap();
    let noted = humantime_of(line.strip_suffix('\n').unwrap());
    assert!((before..=after).contains(&noted), "{line}");
    assert_eq!(line.len(), "2026-11-28T21:50:00Z\n".len());
    // It is no part of any copy, and strange to none of our tools.
    assert!(!copy.join("last-copy").exists());
    fs::write(stock.path("serving"), "http://127.0.0.1:8000\n").unwrap();
    check(&stock.data(), &CheckOptions::default()).is_spotless();
    let snapshot = top.path().join("snapshot");
    succeeds(super::snapshot(&stock, &snapshot));
    for of_this_box in ["last-copy", "serving"] {
        assert!(!snapshot.join(of_this_box).exists());
    }
    fs::remove_file(stock.path("serving")).unwrap();
    let server = Server::on(stock.directory.clone(), &[]);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(mark(&stock).as_ref(), Some(&line));

    // Neither one of a part of the users, nor none at all.
    fs::write(stock.path("last-copy"), "1999-01-01T00:00:00Z\n").unwrap();
    let other = stock.path("users/86868686-8686-4686-8686-868686868686");
    fs::create_dir(&other).unwrap();
    assert_eq!(backup(&stock.data(), &copy).code, Some(1));
    assert_eq!(backup(&stock.data(), &stock.path("tmp")).code, Some(2));
    assert_eq!(mark(&stock).unwrap(), "1999-01-01T00:00:00Z\n");
    fs::remove_dir(&other).unwrap();
    succeeds(backup(&stock.data(), &copy));
    assert_ne!(mark(&stock).unwrap(), "1999-01-01T00:00:00Z\n");
    assert_eq!(fs::read_dir(stock.path("tmp")).unwrap().count(), 0);
}

/// Seconds since 1970 of a time such as `2026-11-28T21:50:00Z`, told by `date`, which is not ours.
fn humantime_of(text: &str) -> u64 {
    let told = run_with_deadline(Command::new("date").args(["-u", "+%s", "-d", text]));
    told.stdout.trim_end().parse().unwrap()
}

#[test]
fn a_store_on_a_disk_that_cannot_be_written_to_is_copied_and_not_noted() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    let data = stock.data();
    let data = data.display();
    let script = format!("mount --bind '{data}' '{data}' && mount -o remount,ro,bind '{data}'");
    let Some(mut command) = in_own_namespace(&script) else {
        return;
    };
    command.args(["backup", "--quiet", "--data"]);
    let told = succeeds(run_with_deadline(command.arg(stock.data()).arg(&copy)));
    assert!(
        told.stderr.contains("the copy is good, and not noted"),
        "{told:?}"
    );
    assert_eq!(mark(&stock), None);
    check(&copy, &CheckOptions::default()).is_spotless();
}

#[test]
fn a_full_disk_is_a_failure_and_leaves_the_last_good_copy() {
    let (stock, top) = stock_and_place();
    let copy = top.path().join("copy");
    succeeds(backup(&stock.data(), &copy));
    let more = Stock::full(3);
    more.put(
        &vec![7; 3 << 20],
        crate::kit::digest(&vec![7; 3 << 20]).parse().unwrap(),
    );
    let digest = crate::kit::digest(&vec![7; 3 << 20]).parse().unwrap();
    more.pending(6, transaction(3), &[digest]);
    more.advance(transaction(6));
    let (small, program) = (top.path().join("small"), binary());
    fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2m,mode=700 none '{small}' && cp -a '{copy}/.' '{small}' && \
         {{ '{program}' backup --quiet --data '{data}' '{small}'; echo status $? >&2; }}",
        small = small.display(),
        copy = copy.display(),
        program = program.get_program().display(),
        data = more.data().display(),
    );
    let Some(mut command) = in_own_namespace(&script) else {
        return;
    };
    let told = succeeds(run_with_deadline(
        command.arg("fsck").arg("--data").arg(&small),
    ));
    assert!(told.stderr.contains("status 1"), "{told:?}");
    assert!(told.stderr.contains("No space left on device"), "{told:?}");
    assert!(
        told.stdout.contains("checked 1 user, 3 transactions"),
        "{told:?}"
    );
    assert_eq!(mark(&more), None);
}
