use std::sync::Arc;
use std::time::{Duration, Instant};

use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::{ChunkId, UserId};
use mentat_sync::store::{self, Options, PutChunk, Store};
use mentat_sync::upkeep::gc::{self, collect};
use serde_json::Value;

use crate::full_disk::in_own_namespace;
use crate::kit::{
    Answer, Chunk, Device, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, user_id,
};

/// What `users` shows: files and bytes.
fn shown(server: &Server) -> (u64, u64) {
    let mut command = binary();
    command
        .args(["users", "--json", "--data"])
        .arg(server.data());
    let listed = run_with_deadline(&mut command).stdout;
    let line: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    (
        line["files"].as_u64().unwrap(),
        line["bytes"].as_u64().unwrap(),
    )
}

/// The refusal's limit and use.
#[track_caller]
fn over(answer: Answer) -> (u64, u64) {
    let problem = answer.expect_refusal(507, "quota-exceeded").json();
    (
        problem["limit"].as_u64().unwrap(),
        problem["used"].as_u64().unwrap(),
    )
}

/// Uploads until it is refused: what a user has is counted beside the first uploads.
fn fill(device: &mut Device, length: usize) -> (Vec<Chunk>, Chunk, Answer) {
    let mut stored = Vec::new();
    loop {
        let next = chunk(format!("{:0>length$}", stored.len()));
        let answer = device.put_chunk(&next);
        if answer.status != 201 {
            return (stored, next, answer);
        }
        stored.push(next);
        assert!(stored.len() < 5000, "there is no limit");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_user_may_have_so_many_bytes() {
    let server = Server::with(&["--max-user-bytes", "200600"]);
    let mut ada = server.device("ada");
    let (stored, refused, answer) = fill(&mut ada, 1000);
    let (limit, used) = over(answer);
    assert_eq!(limit, 200_600);
    // What was stored while it was counted may have been counted twice.
    let (files, bytes) = shown(&server);
    assert_eq!(files, stored.len() as u64 + 4);
    assert!(
        used >= bytes && used <= limit && used + 1000 > limit,
        "{used} {bytes}"
    );
    assert!((195..=200).contains(&stored.len()), "{}", stored.len());

    // What is there takes no room, and can be put again, named and committed.
    ada.put_chunk(&stored[0]).expect(201);
    let first = transaction_id("first");
    over(ada.put_transaction(&first, ROOT, &vec![stored[0].id.as_str(); 100]));
    ada.put_transaction(&first, ROOT, &[&stored[0].id])
        .expect(201);
    ada.put_transaction(&first, ROOT, &[&stored[0].id])
        .expect(201);
    ada.put_head(&first).expect(204);
    // Committed and pending count together.
    assert!(over(ada.put_chunk(&refused)).1 >= shown(&server).1);
    // Others have room.
    server.device("ben").put_chunk(&refused).expect(201);
}

#[test]
fn an_upload_that_will_be_refused_is_known_before_its_body_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Real::new(directory.path(), Grouping::Off).unwrap();
    let options = Options {
        user_bytes: Some(100),
        ..Options::default()
    };
    let store = Store::open(Arc::new(disk), options).unwrap();
    let user: UserId = user_id("ada").parse().unwrap();
    let there: ChunkId = chunk("there").id.parse().unwrap();
    let other: ChunkId = chunk("other").id.parse().unwrap();
    // Nothing is known yet, so nothing is refused.
    assert!(store.user(user).foresee_chunk(&other, Some(1000)).is_ok());
    let mut staged = store.user(user).stage().unwrap();
    staged.write(b"there").unwrap();
    let sealed = staged.seal().unwrap();
    let lock = store.user(user).shared_blocking().unwrap().unwrap();
    assert_eq!(lock.put_chunk(sealed, &there).unwrap(), PutChunk::Stored);
    let deadline = Instant::now() + Duration::from_secs(20);
    // HEAD has 37 bytes, the chunk 5. A count beside the upload may have it twice, until the next.
    while store.user(user).tally() != Some((5, 42)) {
        assert!(Instant::now() < deadline, "{:?}", store.user(user).tally());
        std::thread::sleep(Duration::from_millis(5));
        let _ = store.user(user).foresee_chunk(&other, Some(1));
    }
    assert!(store.user(user).foresee_chunk(&other, Some(58)).is_ok());
    let refused = store.user(user).foresee_chunk(&other, Some(59));
    let known = matches!(
        refused,
        Err(store::Error::QuotaExceeded {
            limit: 100,
            used: 42,
            ..
        })
    );
    assert!(known, "{refused:?}");
    assert!(store.user(user).foresee_chunk(&there, Some(1000)).is_ok());
    // Foreseeing takes nothing.
    assert_eq!(store.user(user).tally(), Some((5, 42)));
    // gc gives back what it removes.
    let gc = gc::CollectOptions {
        grace: Duration::ZERO,
        ..gc::CollectOptions::default()
    };
    collect(&store, &user, &gc, &mut |_| {}).unwrap();
    assert_eq!(store.user(user).tally(), Some((4, 37)));
}

#[test]
fn a_user_may_have_so_many_files() {
    let server = Server::with(&["--max-user-files", "300"]);
    let mut ada = server.device("ada");
    let (stored, _, answer) = fill(&mut ada, 1);
    let (limit, used) = over(answer);
    assert!(limit == 300 && used >= 300, "{used}");
    assert!(
        (295..=300).contains(&shown(&server).0),
        "{}",
        shown(&server).0
    );
    over(ada.put_transaction(&transaction_id("first"), ROOT, &[&stored[0].id]));
}

#[test]
fn a_bundle_is_no_way_around_a_limit() {
    let source = Server::start();
    let mut device = source.device("ada");
    let mut parent = ROOT.to_owned();
    for n in 0..3 {
        let id = transaction_id(&n.to_string());
        device.commit(&id, &parent, &[&chunk(format!("bundled {n}"))]);
        parent = id;
    }
    let bundle = device.get("bundle").expect(200).body;

    let server = Server::with(&["--max-user-files", "60"]);
    let mut ada = server.device("ada");
    fill(&mut ada, 1);
    let path = ada.path("bundle");
    let push = |device: &mut Device| device.client.request("POST", &path, &[], Some(&bundle));
    let (limit, used) = over(push(&mut ada));
    assert!(limit == 60 && used >= 60, "{used}");
    assert_eq!(ada.head(), (ROOT.to_owned(), 0));
    let roomy = Server::with(&["--max-user-files", "60"]);
    push(&mut roomy.device("ada")).expect(200);
    assert_eq!(roomy.device("ada").head(), (parent, 3));
}

#[test]
fn there_is_no_limit_unless_there_is_one() {
    let server = Server::start();
    let mut ada = server.device("ada");
    for n in 0..200 {
        ada.put_chunk(&chunk(format!("{n:0>10000}"))).expect(201);
    }
}

#[test]
fn what_a_user_has_is_counted_again_after_a_crash() {
    let server = Server::with(&["--max-user-bytes", "64KiB"]);
    let mut ada = server.device("ada");
    let (stored, refused, _) = fill(&mut ada, 1000);
    let server = server.crash();
    let mut ada = server.device("ada");
    // Until it has been counted there is room; that does not take long.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut more = 0;
    loop {
        let next = chunk(format!("more {more}"));
        let answer = ada.put_chunk(&next);
        if answer.status == 507 {
            over(answer);
            break;
        }
        more += 1;
        assert!(Instant::now() < deadline);
    }
    ada.put_chunk(&refused)
        .expect_refusal(507, "quota-exceeded");
    ada.put_chunk(&stored[0]).expect(201);
}

#[test]
fn room_that_another_process_makes_is_noticed() {
    let server = Server::with(&["--max-user-files", "50"]);
    let mut ada = server.device("ada");
    let (stored, refused, _) = fill(&mut ada, 10);
    let mut gc = binary();
    gc.args(["gc", "--grace", "0s", "--data"])
        .arg(server.data());
    let removed = format!("removed {} files, ", stored.len());
    assert!(run_with_deadline(&mut gc).stdout.starts_with(&removed));
    let deadline = Instant::now() + Duration::from_secs(60);
    while ada.put_chunk(&refused).status == 507 {
        assert!(Instant::now() < deadline, "it is never noticed");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(shown(&server).0, 5);
}

#[test]
fn what_gc_and_delete_remove_in_the_server_makes_room_at_once() {
    let server = Server::with(&["--max-user-files", "50", "--allow-delete"]);
    let mut ada = server.device("ada");
    let (_, refused, _) = fill(&mut ada, 10);
    let path = ada.path("");
    ada.client.request("DELETE", &path, &[], None).expect(204);
    ada.put_chunk(&refused).expect(201);
}

#[test]
fn pending_transactions_have_a_limit_too() {
    let server = Server::with(&["--max-pending-transactions", "3"]);
    let second = server.another();
    let mut ada = server.device("ada");
    let ids = [0, 1, 2, 3, 4, 5, 6].map(|n| transaction_id(&n.to_string()));
    for id in &ids[..3] {
        ada.put_transaction(id, ROOT, &[]).expect(201);
    }
    assert_eq!(over(ada.put_transaction(&ids[3], ROOT, &[])), (3, 3));
    ada.put_transaction(&ids[2], ROOT, &[]).expect(201);
    // An advance by another process makes room.
    second.device("ada").put_head(&ids[0]).expect(204);
    std::thread::sleep(Duration::from_millis(1100));
    ada.put_transaction(&ids[3], &ids[0], &[]).expect(201);
    // What HEAD cannot reach any more does not count, and goes when room is wanted.
    ada.put_transaction(&ids[4], &ids[0], &[]).expect(201);
    ada.put_transaction(&ids[5], &ids[0], &[]).expect(201);
    let refused = ada.put_transaction(&ids[6], &ids[0], &[]);
    assert!(
        refused.json()["detail"]
            .to_string()
            .contains("advance HEAD to the last of a line")
    );
    assert_eq!(over(refused), (3, 3));
    let folder = server.folder("ada").join("incoming/transactions");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 3);
}

#[test]
fn no_two_servers_and_no_crowd_exceed_that_limit() {
    let server = Server::with(&["--max-pending-transactions", "20"]);
    let second = server.another();
    server.device("ada").put_chunk(&chunk("first")).expect(201);
    let taken: usize = std::thread::scope(|scope| {
        let devices: Vec<_> = (0..8)
            .map(|n| {
                let mut device = [&server, &second][n % 2].device("ada");
                scope.spawn(move || {
                    let put =
                        |k| device.put_transaction(&transaction_id(&format!("{n} {k}")), ROOT, &[]);
                    let statuses: Vec<u16> = (0..10).map(put).map(|answer| answer.status).collect();
                    assert!(statuses.iter().all(|status| matches!(status, 201 | 507)));
                    statuses.iter().filter(|status| **status == 201).count()
                })
            })
            .collect();
        devices
            .into_iter()
            .map(|device| device.join().unwrap())
            .sum()
    });
    let folder = server.folder("ada").join("incoming/transactions");
    let there = std::fs::read_dir(folder).unwrap().count();
    assert_eq!((taken, there), (20, 20));
}

#[test]
fn what_is_dead_goes_where_a_quota_is_met() {
    let server = Server::with(&["--max-user-files", "60"]);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[]);
    for n in 0..40 {
        ada.put_transaction(&transaction_id(&n.to_string()), ROOT, &[])
            .expect(201);
    }
    let (stored, refused, _) = fill(&mut ada, 10);
    assert!(stored.len() < 20, "{}", stored.len());
    let deadline = Instant::now() + Duration::from_secs(60);
    while ada.put_chunk(&refused).status == 507 {
        assert!(Instant::now() < deadline, "there is never room");
        std::thread::sleep(Duration::from_millis(500));
    }
    let folder = server.folder("ada").join("incoming/transactions");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    for chunk in &stored {
        ada.get(&format!("chunks/{}", chunk.id)).expect(200);
    }
}

#[test]
fn a_disk_that_is_nearly_full_refuses_uploads_first() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=4m,mode=700 none '{}'",
        directory.display()
    );
    let Some(command) = in_own_namespace(&mount) else {
        return;
    };
    let server = Server::launch(command, data, &["--min-free", "1MiB", "--allow-delete"]);
    let mut ada = server.device("ada");
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    ada.commit(&first, ROOT, &[&chunk("first")]);
    let huge = chunk(vec![0; 3_200_000]);
    ada.put_chunk(&huge).expect_refusal(507, "no-space");
    let (stored, refused, answer) = fill(&mut ada, 50_000);
    let answer = answer.expect_refusal(507, "no-space");
    let says = answer.json()["detail"].to_string();
    let words = "bytes free, of which uploads leave 1048576;";
    assert!(says.contains(words), "{says}");
    assert!(stored.len() > 40, "{}", stored.len());
    // The reserve is there.
    let inside = format!("/proc/{}/root{}", server.pid(), directory.display());
    let inside = std::path::PathBuf::from(inside);
    let free = rustix::fs::statvfs(&inside).unwrap();
    let free = free.f_bavail * free.f_frsize;
    assert!(
        ((1 << 20) - 60_000..(1 << 20) + 60_000).contains(&free),
        "{free}"
    );
    // Then somebody else takes some of it.
    ada.put_transaction(&second, &first, &[&stored[0].id])
        .expect(201);
    ada.put_transaction(&third, &second, &[]).expect(201);
    std::fs::write(inside.join("filler"), vec![0; 200_000]).unwrap();
    ada.put_chunk(&refused).expect_refusal(507, "no-space");
    ada.put_chunk(&chunk("small"))
        .expect_refusal(507, "no-space");
    ada.put_transaction(&transaction_id("x"), &first, &[])
        .expect_refusal(507, "no-space");
    // HEAD, reads, gc and DELETE work.
    ada.put_head(&second).expect_refusal(409, "has-descendants");
    ada.put_head(&third).expect(204);
    assert_eq!(ada.head(), (third, 3));
    let got = ada.get(&format!("chunks/{}", stored[0].id)).expect(200);
    assert!(got.body == stored[0].bytes);
    let mut gc = binary();
    gc.args(["gc", "--grace", "0s", "--data"]).arg(&inside);
    let ran = run_with_deadline(&mut gc);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    ada.put_chunk(&refused).expect(201);
    let path = ada.path("");
    ada.client.request("DELETE", &path, &[], None).expect(204);
}
