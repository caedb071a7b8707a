use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mentat_sync::disk::{Grouping, Mode, Real};
use mentat_sync::model::limits::LOCK_WAIT;
use mentat_sync::store::{Error, Options, Store};
use rustix::fs::{FlockOperation, flock};

use crate::full_disk::in_own_namespace;
use crate::kit::{Device, Ending, ROOT, Server, chunk, effort, transaction_id, user_id};
use crate::scale::make_chain::Chain;

/// What another user may notice of it, on a machine that has other things to do as well: less than any wait for a lock.
const QUICK: Duration = Duration::from_secs(8);

/// A wait for a lock ends by then.
const IN_TIME: Duration = LOCK_WAIT.saturating_add(QUICK);

/// Longer than there are marks of a walk, so that they lie apart.
const LENGTH: u64 = 10_000;

fn chain_in(data: PathBuf, length: u64) -> Chain {
    let chain = Chain {
        data,
        transactions: length,
        user: user_id("ada").parse().unwrap(),
        chunks: 1,
    };
    chain.make().unwrap();
    chain
}

/// A store with ada's chain, which was damaged like this.
fn damaged(harm: impl Fn(&Path, &Chain)) -> (Server, Chain) {
    let top = tempfile::tempdir().unwrap();
    let chain = chain_in(top.path().join("data"), LENGTH);
    let folder = chain.data.join("users").join(user_id("ada"));
    harm(&folder, &chain);
    (Server::on(Arc::new(top), &[]), chain)
}

fn transaction_file(folder: &Path, id: impl ToString) -> PathBuf {
    let id = id.to_string();
    folder
        .join("transactions")
        .join(&id[..2])
        .join(format!("{id}.json"))
}

fn rebuilds(server: &Server) -> usize {
    let said = server.said();
    let rebuilds = said
        .iter()
        .filter(|line| line.contains("rebuilding the log"));
    rebuilds.count()
}

/// One round of everything that a user does, none of which may take long.
fn works(device: &mut Device, name: &str, round: usize) {
    let since = Instant::now();
    let (head, _) = device.head();
    let id = transaction_id(&format!("{name} {round}"));
    device.commit(&id, &head, &[&chunk(format!("{name} {round}"))]);
    device.get(&format!("transactions/{id}")).expect(200);
    assert_eq!(device.chain_after(&head), [id.as_str()]);
    let took = since.elapsed();
    assert!(took < QUICK, "{name} noticed it: {took:?}");
}

/// So many clients of ada's ask for this again and again, until `meanwhile` is done; how many answers there
/// were, each of which `judge` has seen.
fn hammering(
    server: &Server,
    clients: usize,
    path: &str,
    judge: fn(u16),
    meanwhile: impl FnOnce(),
) -> usize {
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut device = server.device("ada");
                while !stop.load(Ordering::Relaxed) {
                    judge(device.get(path).status);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ending = Ending(&stop);
        meanwhile();
    });
    answers.into_inner()
}

#[test]
fn a_chain_that_cannot_be_told_to_its_start_stops_nobody_and_is_told_as_far_as_it_can() {
    let aside = tempfile::tempdir().unwrap();
    let kept = aside.path().join("third");
    let (server, chain) = damaged(|folder, chain| {
        std::fs::remove_file(folder.join("log")).unwrap();
        std::fs::rename(transaction_file(folder, chain.id(3)), &kept).unwrap();
    });
    let mut bob = server.device("bob");
    works(&mut bob, "bob", 0);
    let answers = hammering(
        &server,
        300,
        "transactions?limit=10",
        |status| assert!([500, 503].contains(&status), "{status}"),
        || {
            let until = Instant::now() + Duration::from_secs(effort::either(1, 5));
            for round in 1.. {
                works(&mut bob, "bob", round);
                if Instant::now() > until {
                    break;
                }
            }
        },
    );
    assert!(answers >= 300, "{answers} answers only");
    // Each of them did not walk.
    let rebuilds = rebuilds(&server);
    assert!(rebuilds < 12, "{rebuilds} rebuilds for {answers} requests");
    works(&mut bob, "bob", 1_000_000);

    // What can be known is told; and all of it once the file is back, at once.
    let mut ada = server.device("ada");
    ada.get("transactions?limit=10")
        .expect_refusal(500, "damaged");
    for seq in [4, 77, LENGTH - 1] {
        let id = chain.id(seq).to_string();
        ada.get(&format!("transactions/{id}")).expect(200);
        let after = ada.chain_after(&id);
        assert_eq!(after.len() as u64, LENGTH - seq);
        assert_eq!(after[0], chain.id(seq + 1).to_string());
    }
    let folder = server.folder("ada");
    std::fs::rename(&kept, transaction_file(&folder, chain.id(3))).unwrap();
    assert_eq!(ada.chain_after(ROOT).len() as u64, LENGTH);
    works(&mut ada, "ada", 0);
    assert_eq!(log_lines(&folder), LENGTH + 1);
}

fn log_lines(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("log")).map_or(0, |meta| meta.len() / 50)
}

#[test]
fn a_log_is_rebuilt_once_for_all_who_ask_and_uploads_go_on() {
    let (server, chain) = damaged(|folder, _| {
        // A hole, and HEAD's line right: only a look at all of it shows that.
        let log = File::options()
            .write(true)
            .open(folder.join("log"))
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&log, &[0; 50], 50 * 4000).unwrap();
    });
    let ids: Vec<String> = (1..=LENGTH).map(|seq| chain.id(seq).to_string()).collect();
    std::thread::scope(|scope| {
        for number in 0..100 {
            let (server, ids) = (&server, &ids);
            scope.spawn(move || {
                let mut device = server.device("ada");
                assert_eq!(&device.chain_after(ROOT), ids);
                device.put_chunk(&chunk(format!("{number}"))).expect(201);
            });
        }
    });
    assert_eq!(rebuilds(&server), 1);
    works(&mut server.device("ada"), "ada", 0);
    assert_eq!(rebuilds(&server), 1);
}

#[test]
fn an_advance_on_a_chain_without_log_makes_it_first() {
    let (server, _) = damaged(|folder, _| std::fs::remove_file(folder.join("log")).unwrap());
    let mut ada = server.device("ada");
    let (head, _) = ada.head();
    let next = transaction_id("next");
    ada.commit(&next, &head, &[]);
    assert_eq!(log_lines(&server.folder("ada")), LENGTH + 1);
    assert_eq!(rebuilds(&server), 1);
}

#[test]
fn where_there_is_no_room_for_a_log_the_chain_is_read_by_walking() {
    let top = tempfile::tempdir().unwrap();
    let chain = chain_in(top.path().join("made"), LENGTH);
    let data = top.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (from, to) = (chain.data.display(), data.display());
    let script = format!(
        "mount -t tmpfs -o size=96m,mode=700 none '{to}' && cp -a '{from}/.' '{to}' && \
         rm '{to}'/users/*/log"
    );
    let Some(command) = in_own_namespace(&script) else {
        return;
    };
    let server = Server::launch(command, Arc::new(top), &[]);
    let inside = format!("/proc/{}/root{}", server.pid(), server.data().display());
    let filler = Path::new(&inside).join("filler");
    let mut zeroes = File::open("/dev/zero").unwrap();
    std::io::copy(&mut zeroes, &mut File::create(&filler).unwrap()).unwrap_err();
    let mut ada = server.device("ada");
    let ids: Vec<String> = (1..=LENGTH).map(|seq| chain.id(seq).to_string()).collect();
    for from in [0, 1, 4999, LENGTH - 1] {
        let after = ada.chain_after(&chain.id(from).to_string());
        assert_eq!(after, ids[from as usize..], "after {from}");
    }
    for seq in [1, 2, 5000, LENGTH] {
        let path = format!("transactions/{}", chain.id(seq));
        assert_eq!(ada.get(&path).expect(200).json()["seq"], seq);
    }
    let path = format!("bundle?from={}&limit=3&chunks=none", chain.id(5000));
    ada.get(&path).expect(200);
    let absent = transaction_id("absent");
    ada.get(&format!("transactions/{absent}"))
        .expect_refusal(404, "unknown-transaction");
    ada.put_transaction(&absent, &chain.id(7).to_string(), &[])
        .expect_refusal(507, "no-space");

    std::fs::remove_file(filler).unwrap();
    works(&mut ada, "ada", 0);
    let folder = Path::new(&inside).join("users").join(user_id("ada"));
    assert_eq!(log_lines(&folder), LENGTH + 1);
}

/// Another process has the user's lock, and keeps it.
fn held(server: &Server, user: &str) -> File {
    let lock = File::open(server.folder(user).join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    lock
}

#[test]
fn a_lock_that_another_process_keeps_is_one_users_matter() {
    let (server, chain) = damaged(|folder, _| std::fs::remove_file(folder.join("log")).unwrap());
    let [mut ada, mut bob] = ["ada", "bob"].map(|name| server.device(name));
    works(&mut bob, "bob", 0);
    let lock = held(&server, "ada");
    let since = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..200)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let mut device = server.device("ada");
                    let text = chunk(format!("{number}"));
                    let answer = match number % 4 {
                        0 => device.put_chunk(&text),
                        1 => device.put_head(ROOT),
                        2 => device.client.request(
                            "POST",
                            &format!("/0.1/{}/chunks/missing", user_id("ada")),
                            &[],
                            Some(format!("[\"{}\"]", text.id).as_bytes()),
                        ),
                        _ => device.client.request(
                            "POST",
                            &format!("/0.1/{}/bundle", user_id("ada")),
                            &[],
                            Some(&bundle(&text)),
                        ),
                    };
                    answer.expect_refusal(503, "busy");
                })
            })
            .collect();
        // Its reads need no lock, though there is no log and none can be made.
        assert_eq!(ada.head().1, LENGTH);
        assert_eq!(ada.chain_after(ROOT).len() as u64, LENGTH);
        ada.get(&format!("transactions/{}", chain.id(5)))
            .expect(200);
        assert!(since.elapsed() < LOCK_WAIT, "{:?}", since.elapsed());
        for round in 1..20 {
            works(&mut bob, "bob", round);
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
    // However many waited: none of them began when another had ended.
    assert!(since.elapsed() < IN_TIME, "{:?}", since.elapsed());
    drop(lock);
    works(&mut ada, "ada", 0);
    let mut server = server;
    server.terminate();
    assert!(server.ended_within(IN_TIME).is_some());
}

/// A bulk upload of one chunk.
fn bundle(chunk: &crate::kit::Chunk) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(chunk.bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let name = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
    tar.append_data(&mut header, name, &*chunk.bytes).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn a_thread_of_its_own_waits_for_a_lock_no_longer_than_all_others() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let disk = Real::new(directory.path(), Grouping::Off).unwrap();
        Store::open(Arc::new(disk), Options::default()).unwrap()
    };
    let user = user_id("ada").parse().unwrap();
    let (store, other) = (open(), open());
    store.user(user).add().unwrap();
    let waits = |mode| {
        let since = Instant::now();
        let user = store.user(user);
        let refused = match mode {
            Mode::Shared => user.shared_blocking().err(),
            Mode::Exclusive => user.exclusive_blocking().err(),
        };
        assert!(matches!(refused, Some(Error::Busy)));
        let waited = since.elapsed();
        assert!(waited >= LOCK_WAIT && waited < IN_TIME, "{waited:?}");
    };
    // Held in this process.
    let lock = store.user(user).exclusive_blocking().unwrap();
    std::thread::scope(|scope| {
        for mode in [Mode::Shared, Mode::Exclusive] {
            scope.spawn(move || waits(mode));
        }
    });
    drop(lock);
    // Held by another: the first waits for the file, the others for the first and then for the file.
    let lock = other.user(user).exclusive_blocking().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || waits(Mode::Exclusive));
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    drop(lock);
    assert!(store.user(user).exclusive_blocking().unwrap().is_some());
}
