//! Moves at bad moments, and to bad places.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use super::frozen::{is_moving, users};
use super::sent::{commit, is_sound, send, state, succeeds};
use crate::backups::other_machine;
use crate::full_disk::in_own_namespace;
use crate::kit::{
    Connection, Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, tree,
    user_id,
};

const ADA: &str = "ada";

/// A served user, who has something.
fn served() -> Server {
    let here = Server::start();
    commit(&mut here.device(ADA), "first").unwrap();
    here
}

/// The send is refused, and changes nothing but the name of the move.
#[track_caller]
fn is_refused(ended: &Finished, here: &Server, status: i32, words: &str) {
    assert_eq!(ended.code, Some(status), "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
    assert!(!ended.stderr.contains(&user_id(ADA)), "{ended:?}");
    assert_eq!(state(&here.data()), "served");
    here.device(ADA).get("head").expect(200);
    is_sound(&here.data());
}

fn send_over_ssh(here: &Server, there: &Path) -> Finished {
    let ssh = other_machine();
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = binary();
    command.args(["users", "send", &user_id(ADA)]);
    command.arg(format!("box:{}", there.display()));
    run_with_deadline(command.arg("--data").arg(here.data()).env("PATH", path))
}

#[test]
fn a_user_is_not_sent_into_itself_nor_into_a_store_by_whatever_path() {
    let here = served();
    let top = tempfile::tempdir().unwrap();
    let link = top.path().join("link");
    symlink(here.data(), &link).unwrap();
    for place in [
        here.data(),
        link.clone(),
        link.join("users"),
        here.data().join("new"),
    ] {
        is_refused(
            &send(&here.data(), &place),
            &here,
            2,
            "is in the data directory",
        );
        assert!(!here.data().join("new").exists());
    }
    // From over there it looks like any other directory.
    is_refused(
        &send_over_ssh(&here, &here.data()),
        &here,
        1,
        "served there",
    );
    is_refused(&send_over_ssh(&here, &link), &here, 1, "served there");
    for place in ["new", "users/new", "tmp"] {
        let place = here.data().join(place);
        is_refused(&send_over_ssh(&here, &place), &here, 1, "in another store");
        let _ = fs::remove_dir(place);
    }
    succeeds(users(&here.data(), &["freeze", &user_id(ADA)]));
    let ended = send_over_ssh(&here, &here.data());
    assert!(ended.stderr.contains("frozen there"), "{ended:?}");
    assert_eq!(state(&here.data()), "frozen");
    // By a link to another directory it goes there.
    let other = top.path().join("other");
    fs::create_dir(&other).unwrap();
    let to_other = top.path().join("to other");
    symlink(&other, &to_other).unwrap();
    succeeds(send(&here.data(), &to_other));
    assert_eq!(
        (state(&here.data()), state(&other)),
        ("gone".into(), "ready".into())
    );
    // And from there not back to itself, which is here.
    let ended = send_over_ssh(&here, &here.data());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        (state(&here.data()), state(&other)),
        ("gone".into(), "ready".into())
    );
}

#[test]
fn a_user_is_not_sent_to_what_is_no_store_of_this_format_nor_through_a_link_in_one() {
    let here = served();
    let user = user_id(ADA);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "precious").unwrap();
    type Spoil = fn(&Path, &Path, &str);
    let cases: [(&str, Spoil); 9] = [
        ("another FORMAT", |there, _, _| {
            fs::write(there.join("FORMAT"), "mentat-sync 0\n").unwrap()
        }),
        ("another FORMAT", |there, _, _| {
            fs::write(there.join("FORMAT"), "mentat-sync 2\n").unwrap()
        }),
        ("another FORMAT", |there, _, _| {
            fs::remove_dir_all(there.join("users")).unwrap()
        }),
        ("no store", |there, _, _| {
            fs::remove_file(there.join("FORMAT")).unwrap();
            fs::write(there.join("thesis"), "").unwrap();
        }),
        ("a symbolic link", |there, outside, _| {
            fs::remove_dir_all(there.join("users")).unwrap();
            symlink(outside, there.join("users")).unwrap();
        }),
        ("damaged there", |there, outside, user| {
            symlink(outside, there.join("users").join(user)).unwrap()
        }),
        ("damaged there", |there, _, user| {
            fs::write(there.join("users").join(user), "").unwrap()
        }),
        ("damaged there", |there, outside, user| {
            let folder = there.join("users").join(user);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("frozen"), "gone\n").unwrap();
            symlink(outside, folder.join("incoming")).unwrap();
        }),
        ("damaged there", |there, outside, user| {
            let folder = there.join("users").join(user);
            fs::create_dir_all(folder.join("incoming")).unwrap();
            fs::write(folder.join("frozen"), "incoming\n").unwrap();
            symlink(outside, folder.join("incoming/tmp")).unwrap();
        }),
    ];
    for (words, spoil) in cases {
        let there = tempfile::tempdir().unwrap();
        for part in ["users", "tmp", "trash"] {
            fs::create_dir(there.path().join(part)).unwrap();
        }
        fs::write(there.path().join("FORMAT"), "mentat-sync 1\n").unwrap();
        spoil(there.path(), outside.path(), &user);
        let before = tree(there.path());
        is_refused(&send(&here.data(), there.path()), &here, 1, words);
        assert_eq!(tree(there.path()), before, "{words}");
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[test]
fn a_user_who_was_deleted_and_made_anew_is_another_one_to_every_move() {
    let here = served();
    let top = tempfile::tempdir().unwrap();
    let (there, third) = (top.path().join("there"), top.path().join("third"));
    succeeds(send(&here.data(), &there));
    // Deleted where it is gone, and made anew: what is over there is not its.
    succeeds(users(&here.data(), &["rm", "--yes", &user_id(ADA)]));
    let second = commit(&mut here.device(ADA), "another life").unwrap();
    is_refused(&send(&here.data(), &there), &here, 1, "ready there");
    succeeds(send(&here.data(), &third));
    succeeds(users(&third, &["thaw", &user_id(ADA)]));
    let head = fs::read_to_string(third.join("users").join(user_id(ADA)).join("HEAD")).unwrap();
    assert_eq!(head.trim_end(), second);
    // Deleted over there, and made anew: a send that goes on is not told that this is where it came to.
    succeeds(users(&third, &["rm", "--yes", &user_id(ADA)]));
    succeeds(users(&third, &["add", &user_id(ADA)]));
    let ended = send(&here.data(), &third);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("another move"), "{ended:?}");
    // Frozen, deleted, and made anew: served.
    succeeds(users(&there, &["thaw", &user_id(ADA)]));
    succeeds(users(&there, &["freeze", &user_id(ADA)]));
    succeeds(users(&there, &["rm", "--yes", &user_id(ADA)]));
    succeeds(users(&there, &["add", &user_id(ADA)]));
    assert_eq!(state(&there), "served");
    assert!(succeeds(users(&there, &["thaw", &user_id(ADA)])).contains("is not frozen"));
}

/// An rsync that does something to the folder at its third run, when the user is frozen.
fn meddling(here: &Server, there: &Path, what: &str) -> Finished {
    let bin = tempfile::tempdir().unwrap();
    let (top, path) = (bin.path().display(), std::env::var("PATH").unwrap());
    let folder = here.folder(ADA);
    let script = format!(
        "#!/bin/sh\nF={}\nA={}\ncase \" $* \" in *' --server '*) ;; *) echo >>{top}/runs; \
         if [ $(wc -l <{top}/runs) = 3 ]; then {what}; fi ;; esac\nPATH={path} exec rsync \"$@\"\n",
        folder.display(),
        here.data().join("aside").display()
    );
    let file = bin.path().join("rsync");
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = binary();
    command
        .args(["users", "send", &user_id(ADA)])
        .arg(there)
        .arg("--data")
        .arg(here.data());
    run_with_deadline(command.env("PATH", format!("{top}:{path}")))
}

#[test]
fn a_folder_that_is_moved_or_changed_by_hand_under_a_send_is_not_gone_and_comes_back() {
    for (what, puts_back) in [
        ("mv $F $A", true),
        // Another folder of that name, of another life.
        ("cp -a $F $A && rm $F/frozen $F/move", false),
        ("rm $F/frozen", false),
        ("rm $F/move", false),
        ("echo 00000000-0000-4000-8000-000000000000 >$F/move", false),
    ] {
        let here = served();
        let top = tempfile::tempdir().unwrap();
        let there = top.path().join("data");
        let ended = meddling(&here, &there, what);
        println!("{what}: {ended:?}");
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        assert_eq!(state(&there), "incoming", "{what}");
        if puts_back {
            assert_eq!(state(&here.data()), "absent");
            fs::rename(here.data().join("aside"), here.folder(ADA)).unwrap();
        }
        assert!(
            matches!(state(&here.data()).as_str(), "served" | "frozen"),
            "{what}"
        );
        succeeds(send(&here.data(), &there));
        succeeds(users(&there, &["thaw", &user_id(ADA)]));
        let _ = fs::remove_dir_all(here.data().join("aside"));
        for data in [&here.data(), &there] {
            is_sound(data);
        }
    }
}

#[test]
fn a_user_who_does_not_fit_on_the_disk_over_there_is_served_here_and_it_is_said() {
    let here = served();
    let big = chunk(vec![b'x'; 3 << 20]);
    here.device(ADA).put_chunk(&big).expect(201);
    let there = tempfile::tempdir().unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=2m,mode=700 none '{}'",
        there.path().display()
    );
    let Some(mut command) = in_own_namespace(&mount) else {
        return;
    };
    command
        .args(["users", "send", &user_id(ADA)])
        .arg(there.path());
    let ended = run_with_deadline(command.arg("--data").arg(here.data()));
    is_refused(&ended, &here, 1, "is the disk full?");
    assert!(ended.stderr.contains("it is served here"), "{ended:?}");
    commit(&mut here.device(ADA), "second").unwrap();
}

#[test]
fn of_two_sends_at_once_to_two_places_the_user_is_on_one_at_last() {
    for turn in 0..4 {
        let here = served();
        let top = tempfile::tempdir().unwrap();
        let places = [top.path().join("one"), top.path().join("two")];
        let both = places.each_ref().map(|place| {
            let mut command = binary();
            command.args(["users", "send", &user_id(ADA)]).arg(place);
            command
                .arg("--data")
                .arg(here.data())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().unwrap()
        });
        let ended = both.map(|mut send| send.wait().unwrap().success());
        let states = || [state(&here.data()), state(&places[0]), state(&places[1])];
        println!("{turn}: {ended:?} {:?}", states());
        let may = |state: &String| ["served", "frozen", "ready"].contains(&state.as_str());
        assert_eq!(
            states().iter().filter(|state| may(state)).count(),
            1,
            "{:?}",
            states()
        );
        assert!(ended.iter().filter(|well| **well).count() <= 1, "{ended:?}");
        let at = places.iter().position(|place| state(place) == "ready");
        let at = at.unwrap_or_else(|| {
            succeeds(send(&here.data(), &places[0]));
            0
        });
        succeeds(users(&places[at], &["thaw", &user_id(ADA)]));
        assert_eq!(send(&here.data(), &places[1 - at]).code, Some(1));
        is_sound(&places[at]);
        assert_eq!(state(&here.data()), "gone");
    }
}

/// What was sent before the freeze is refused whole when it ends after it, and taken after the thaw.
#[test]
fn an_upload_that_is_under_way_when_the_user_freezes_is_refused_and_taken_after_the_thaw() {
    let here = served();
    let mut device = here.device(ADA);
    let (head, _) = device.head();
    let (next, big) = (transaction_id("next"), chunk(vec![b'y'; 1 << 20]));
    let line = format!(
        "{{\"id\":\"{next}\",\"seq\":2,\"parent\":\"{head}\",\"chunks\":[\"{}\"]}}\n",
        big.id
    );
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        (
            format!("chunks/{}/{}", &big.id[..2], big.id),
            &big.bytes[..],
        ),
        (
            format!("transactions/{}/{next}.json", &next[..2]),
            line.as_bytes(),
        ),
        ("HEAD".to_owned(), format!("{next}\n").as_bytes()),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    let bundle = tar.into_inner().unwrap();
    assert!(bundle.len() > 1 << 20);
    for (method, path, body) in [
        ("POST", device.path("bundle"), bundle.clone()),
        (
            "PUT",
            device.path(&format!("chunks/{}", big.id)),
            big.bytes.clone(),
        ),
    ] {
        let mut asking = Connection::open(here.address()).unwrap();
        let begin = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        asking.send(begin).unwrap();
        let (half, rest) = body.split_at(body.len() / 2);
        asking.send(half).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        succeeds(users(&here.data(), &["freeze", &user_id(ADA)]));
        let shelves = || {
            let mut files = tree(&here.folder(ADA));
            files.retain(|name, _| !name.starts_with("incoming/tmp"));
            files
        };
        let before = shelves();
        // It may be answered before its end.
        let _ = asking.send(rest);
        is_moving(asking.answer(method).unwrap());
        assert_eq!(shelves(), before);
        succeeds(users(&here.data(), &["thaw", &user_id(ADA)]));
        assert_eq!(device.head().0, head);
    }
    let answer = here
        .client()
        .request("POST", &device.path("bundle"), &[], Some(&bundle));
    assert_eq!(answer.status / 100, 2, "{answer:?}");
    assert_eq!(device.chain_after(ROOT).last(), Some(&next));
}

/// As many digits as it takes are printed, and taken.
#[test]
fn of_two_users_whose_ids_begin_alike_more_digits_are_said() {
    let here = served();
    let user = user_id(ADA);
    let (short, more) = (&user[..8], &user[..13]);
    let twin = format!("{short}-0000{}", &user[13..]);
    succeeds(users(&here.data(), &["add", &twin]));
    let there = tempfile::tempdir().unwrap();
    let to = there.path().to_str().unwrap();
    let ended = users(&here.data(), &["send", short, to]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains(more) && ended.stderr.contains(&twin[..13]),
        "{ended:?}"
    );
    let said = succeeds(users(&here.data(), &["send", more, to]));
    assert!(said.contains(&format!("users thaw {more} ")), "{said}");
    assert!(said.contains(&format!("a line for {short}, ")), "{said}");
    assert!(
        said.contains("send both") && !said.contains(&user),
        "{said}"
    );
    succeeds(users(there.path(), &["thaw", more]));
    let said = succeeds(users(&here.data(), &["send", &twin, to]));
    assert!(said.contains(&twin[..13]), "{said}");
}
