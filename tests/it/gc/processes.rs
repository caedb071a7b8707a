//! `mentat-sync gc` and `serve --gc-every` as processes, beside servers, clients and each other.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::full_disk::in_own_namespace;
use crate::kit::{
    Device, Ending, Finished, ROOT, Server, binary, chunk, effort, run_with_deadline,
    transaction_id, tree, user_id,
};

/// Longer ago than the grace period.
const LONG_AGO: Duration = Duration::from_secs(20 * 24 * 3600);

/// Makes a file as old as if it had been uploaded long ago. One that goes meanwhile is gone.
fn age(file: &Path) {
    if let Ok(file) = File::options().write(true).open(file) {
        file.set_modified(SystemTime::now() - LONG_AGO).unwrap();
    }
}

/// As if gc had never come to the end of a run: what it remembers would tell that these dates are wrong.
fn forget(folder: &Path) {
    let gate = File::options().write(true).open(folder.join("gate"));
    gate.unwrap().set_len(1).unwrap();
}

fn age_all(folder: &Path) {
    forget(folder);
    for (name, look) in tree(&folder.join("incoming")) {
        if look.kind == 'f' {
            age(&folder.join("incoming").join(name));
        }
    }
}

fn gc(data: &Path, flags: &[&str]) -> Finished {
    run_with_deadline(binary().args(["gc", "--data"]).arg(data).args(flags))
}

#[track_caller]
fn said(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr, "");
    finished.stdout
}

/// The files of the whole data directory.
fn files(data: &Path) -> BTreeSet<String> {
    let all = tree(data).into_iter();
    all.filter(|(_, look)| look.kind == 'f')
        .map(|(name, _)| name)
        .collect()
}

/// Everything but what gc may touch.
fn live_part(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut live = Vec::new();
    for (name, look) in tree(folder) {
        if look.kind == 'f' && !name.starts_with("incoming/") && name != "gate" {
            let bytes = std::fs::read(folder.join(&name)).unwrap();
            live.push((name, bytes));
        }
    }
    live
}

#[test]
fn what_is_old_and_not_reachable_goes_beside_the_server_and_the_dry_run_names_it() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let [first, dead, young] = ["first", "dead", "young"].map(transaction_id);
    ada.commit(&first, ROOT, &[&chunk("first")]);
    ada.put_chunk(&chunk("lost")).expect(201);
    ada.put_chunk(&chunk("dead")).expect(201);
    ada.put_transaction(&dead, ROOT, &[&chunk("dead").id])
        .expect(201);
    std::fs::write(server.folder("ada").join("incoming/tmp/0123"), "left").unwrap();
    age_all(&server.folder("ada"));
    ada.put_chunk(&chunk("young")).expect(201);
    ada.put_transaction(&young, &first, &[&chunk("young").id])
        .expect(201);
    let trash = server
        .data()
        .join("trash/67e55044-10b1-426f-9247-bb680e5fe0c8.0/chunks");
    std::fs::create_dir_all(trash).unwrap();

    let before = files(&server.data());
    let live = live_part(&server.folder("ada"));
    let told = said(gc(&server.data(), &["--dry-run"]));
    assert_eq!(files(&server.data()), before);
    let told: BTreeSet<String> = told.lines().map(str::to_owned).collect();
    let objects = said(gc(&server.data(), &["--dry-run", "--json"]));
    let objects: Vec<Value> = objects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let paths = objects
        .iter()
        .map(|line| line["path"].as_str().unwrap().to_owned());
    assert_eq!(paths.collect::<BTreeSet<_>>(), told);
    let dead_one = objects
        .iter()
        .find(|line| line["kind"] == "transaction")
        .unwrap();
    assert_eq!(dead_one["user"], user_id("ada"));
    assert_eq!(dead_one["why"], "abandoned");
    assert_eq!(dead_one["removed"], false);
    assert!(
        dead_one["path"]
            .as_str()
            .unwrap()
            .ends_with(&format!("{dead}.json"))
    );

    let ran = said(gc(&server.data(), &[]));
    assert!(ran.starts_with("removed 5 files, "), "{ran}");
    let after = files(&server.data());
    let mut expected: BTreeSet<String> = before.difference(&told).cloned().collect();
    expected.retain(|name| !name.starts_with("trash/"));
    assert_eq!(after, expected);
    assert_eq!(live_part(&server.folder("ada")), live);
    assert_eq!(
        std::fs::read_dir(server.data().join("trash"))
            .unwrap()
            .count(),
        0
    );
    // Nothing to do, nothing to say; and the server knows.
    assert_eq!(said(gc(&server.data(), &[])), "");
    ada.get(&format!("chunks/{}", chunk("lost").id))
        .expect_refusal(404, "unknown-chunk");
    ada.put_head(&young).expect(204);
    ada.commit(&dead, &young, &[&chunk("lost")]);
}

#[test]
fn one_users_garbage_can_be_collected_alone() {
    let server = Server::start();
    for user in ["ada", "ben"] {
        server.device(user).put_chunk(&chunk(user)).expect(201);
        age_all(&server.folder(user));
    }
    let ran = said(gc(&server.data(), &["--json", "--user", &user_id("ada")]));
    assert_eq!(ran.lines().count(), 1, "{ran}");
    assert!(
        ran.contains(&chunk("ada").id) && ran.contains("\"removed\":true"),
        "{ran}"
    );
    assert_eq!(tree(&server.folder("ben").join("incoming/chunks")).len(), 2);

    let unknown = gc(&server.data(), &["--user", &user_id("nobody")]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert_eq!(gc(&server.data(), &["--user", "ada"]).code, Some(2));
}

#[test]
fn no_grace_at_all_leaves_only_what_is_reachable() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let [first, second] = ["first", "second"].map(transaction_id);
    ada.commit(&first, ROOT, &[&chunk("first")]);
    ada.put_transaction(&second, &first, &[&chunk("first").id])
        .expect(201);
    ada.put_chunk(&chunk("lost")).expect(201);
    assert!(said(gc(&server.data(), &["--grace", "0s"])).starts_with("removed 2 files, "));
    assert_eq!(
        tree(&server.folder("ada").join("incoming/transactions")).len(),
        0
    );
    ada.put_head(&second)
        .expect_refusal(409, "unknown-transaction");
    assert_eq!(ada.head(), (first, 1));
}

#[test]
fn a_clock_that_leapt_stops_it_and_force_goes_on() {
    let server = Server::start();
    server.device("ada").put_chunk(&chunk("x")).expect(201);
    age_all(&server.folder("ada"));
    said(gc(&server.data(), &[]));
    server.device("ada").put_chunk(&chunk("y")).expect(201);
    age_all(&server.folder("ada"));
    age(&server.folder("ada").join("gate"));
    for flags in [&["--dry-run"][..], &[]] {
        let stopped = gc(&server.data(), flags);
        assert_eq!(stopped.code, Some(1), "{stopped:?}");
        assert!(stopped.stderr.contains("--force") && stopped.stderr.contains("the clock says"));
        assert_eq!(stopped.stdout, "");
    }
    assert!(said(gc(&server.data(), &["--force"])).starts_with("removed 1 file, "));
    server.device("ada").put_chunk(&chunk("y")).expect(201);
    assert_eq!(said(gc(&server.data(), &[])), "");
}

#[test]
fn what_has_a_date_that_cannot_be_right_is_kept_once_and_told() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let first = transaction_id("first");
    let folder = server.folder("ada");
    let dates = [SystemTime::UNIX_EPOCH, SystemTime::now() - LONG_AGO];
    for (round, date) in dates.into_iter().enumerate() {
        said(gc(&server.data(), &[]));
        ada.put_chunk(&chunk("x")).expect(201);
        ada.put_transaction(&first, ROOT, &[&chunk("x").id])
            .expect(201);
        let mut dated = 0;
        for (name, look) in tree(&folder.join("incoming")) {
            if look.kind == 'f' {
                let file = File::options()
                    .write(true)
                    .open(folder.join("incoming").join(name));
                file.unwrap().set_modified(date).unwrap();
                dated += 1;
            }
        }
        assert_eq!(dated, 2);
        let ended = gc(&server.data(), &[]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(0), ""),
            "{round}"
        );
        let told = "2 files have dates that cannot be right: kept, as if uploaded now";
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert_eq!(said(gc(&server.data(), &[])), "");
        ada.get(&format!("chunks/{}", chunk("x").id)).expect(200);
        assert!(said(gc(&server.data(), &["--grace", "0s"])).starts_with("removed 2 files, "));
    }
    ada.put_chunk(&chunk("x")).expect(201);
    ada.put_transaction(&first, ROOT, &[&chunk("x").id])
        .expect(201);
    ada.put_head(&first).expect(204);
}

#[test]
fn what_cannot_be_read_is_told_and_nothing_of_that_user_goes() {
    let server = Server::start();
    for user in ["ada", "ben"] {
        server.device(user).put_chunk(&chunk(user)).expect(201);
        age_all(&server.folder(user));
    }
    let damaged = server.folder("ada").join("incoming/transactions");
    std::fs::write(damaged.join(format!("{}.json", transaction_id("x"))), "{").unwrap();
    let ended = gc(&server.data(), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("damaged") && ended.stderr.contains("fsck"),
        "{ended:?}"
    );
    assert_eq!(tree(&server.folder("ada").join("incoming/chunks")).len(), 2);
    assert_eq!(tree(&server.folder("ben").join("incoming/chunks")).len(), 1);
}

#[test]
fn a_server_collects_by_itself_and_is_silent_unless_something_went() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&data), &[]);
    server.device("ada").put_chunk(&chunk("x")).expect(201);
    age_all(&server.folder("ada"));
    drop(server);
    let server = Server::on(data, &["--gc-every", "200ms"]);
    let line = server.has_said(|line| line.contains("gc: "));
    assert!(
        line.contains("removed 1 files") && !line.contains(&user_id("ada")),
        "{line}"
    );
    server
        .device("ada")
        .get(&format!("chunks/{}", chunk("x").id))
        .expect(404);
    std::thread::sleep(Duration::from_millis(700));
    let lines = server.said();
    assert_eq!(
        lines.iter().filter(|line| line.contains("gc: ")).count(),
        1,
        "{lines:?}"
    );
    // Not only at the start.
    server.device("ada").put_chunk(&chunk("y")).expect(201);
    age_all(&server.folder("ada"));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server
        .device("ada")
        .get(&format!("chunks/{}", chunk("y").id))
        .status
        != 404
    {
        assert!(std::time::Instant::now() < deadline, "{:?}", server.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Uploads, lets it grow old, and comes back for it while it is being collected: whatever is
/// acknowledged then must last until HEAD reaches it.
fn come_back(device: &mut Device, folder: &Path, name: &str, stop: &AtomicBool) -> usize {
    let (mut head, mut collected) = (device.head().0, 0);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids = [0, 1].map(|k| transaction_id(&format!("{name} {n} {k}")));
        let [parent, child] = &ids;
        let chunks = [0, 1, 2].map(|k| chunk(format!("{name} {n} {k}")));
        let put_all = |device: &mut Device| {
            for chunk in &chunks {
                device.put_chunk(chunk).expect(201);
            }
        };
        put_all(device);
        device
            .put_transaction(parent, &head, &[&chunks[0].id])
            .expect(201);
        forget(folder);
        for chunk in &chunks {
            age(&folder.join(format!("incoming/chunks/{}/{}", &chunk.id[..2], chunk.id)));
        }
        age(&folder.join(format!("incoming/transactions/{parent}.json")));
        // A collection may be anywhere now.
        let named = chunks.each_ref().map(|chunk| chunk.id.as_str());
        let mut answer = device.put_transaction(child, parent, &named);
        while answer.status != 201 {
            assert!(matches!(answer.status, 404 | 409), "{answer:?}");
            collected += 1;
            put_all(device);
            device
                .put_transaction(parent, &head, &[named[0]])
                .expect(201);
            answer = device.put_transaction(child, parent, &named);
        }
        device.put_head(child).expect(204);
        for chunk in &chunks {
            let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
            assert_eq!(got.body, chunk.bytes);
        }
        head = child.clone();
    }
    collected
}

#[test]
fn what_is_acknowledged_beside_collections_is_committed_whole() {
    let server = Server::start();
    let second = server.another();
    let stop = AtomicBool::new(false);
    let (rounds, collected, seqs) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                // Two on one user would take each other's HEAD away.
                let name = format!("client {n}");
                let mut device = [&server, &second][n % 2].device(&name);
                let folder = server.folder(&name);
                let stop = &stop;
                scope.spawn(move || {
                    device.put_chunk(&chunk("first")).expect(201);
                    let collected = come_back(&mut device, &folder, &name, stop);
                    (collected, device.head().1)
                })
            })
            .collect();
        let ending = Ending(&stop);
        let mut rounds = 0;
        let until = std::time::Instant::now() + Duration::from_secs(effort::either(2, 6));
        while std::time::Instant::now() < until {
            let mut both = [0, 1].map(|_| {
                let mut command = binary();
                command.args(["gc", "--data"]).arg(server.data());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            });
            for process in &mut both {
                assert!(process.wait().unwrap().success());
            }
            rounds += 1;
        }
        drop(ending);
        let ended: Vec<(usize, u64)> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        let collected: usize = ended.iter().map(|(collected, _)| collected).sum();
        (
            rounds,
            collected,
            ended.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(),
        )
    });
    println!("{rounds} pairs of collections, {collected} met, chains of {seqs:?}");
    assert!(
        rounds > 2 && seqs.iter().all(|seq| *seq > 2),
        "{rounds} {seqs:?}"
    );
}

#[test]
fn a_killed_collection_leaves_a_sound_store() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    ada.commit(&first, ROOT, &[&chunk("first")]);
    let folder = server.folder("ada");
    ada.put_chunk(&chunk("kept")).expect(201);
    ada.put_transaction(&second, &first, &[&chunk("kept").id])
        .expect(201);
    // Uploads that nobody came back for, as other clients would have left them.
    let mut parent = first.clone();
    for n in 0..1500 {
        let id = transaction_id(&n.to_string());
        let seq = n + 2;
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[\"{}\"]}}\n",
            chunk(n.to_string()).id
        );
        std::fs::write(
            folder.join(format!("incoming/transactions/{id}.json")),
            json,
        )
        .unwrap();
        let chunk = chunk(n.to_string());
        let fan = folder.join(format!("incoming/chunks/{}", &chunk.id[..2]));
        std::fs::create_dir_all(&fan).unwrap();
        std::fs::write(fan.join(&chunk.id), &chunk.bytes).unwrap();
        parent = id;
    }
    age_all(&folder);
    ada.put_transaction(&third, &second, &[]).expect(201);
    let live = live_part(&folder);

    let all = tree(&folder.join("incoming")).len();
    let (mut killed, mut half_way) = (0, 0);
    for round in 0.. {
        let mut process = binary();
        process.args(["gc", "--data"]).arg(server.data());
        let mut process = process.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 5));
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        killed += 1;
        half_way += usize::from(tree(&folder.join("incoming")).len() < all);
        // No transaction is left without its parent or its chunk.
        let pending = tree(&folder.join("incoming/transactions"));
        for name in pending.keys() {
            let bytes = std::fs::read(folder.join("incoming/transactions").join(name)).unwrap();
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            let parent = json["parent"].as_str().unwrap();
            assert!(parent == first || pending.contains_key(&format!("{parent}.json")));
            for chunk in json["chunks"].as_array().unwrap() {
                let name = chunk.as_str().unwrap();
                assert!(
                    folder
                        .join(format!("incoming/chunks/{}/{name}", &name[..2]))
                        .exists()
                );
            }
        }
        assert_eq!(live_part(&folder), live);
    }
    println!("killed {killed} times, {half_way} times half-way");
    assert!(half_way > 0, "{killed}");
    said(gc(&server.data(), &[]));
    assert_eq!(tree(&folder.join("incoming/transactions")).len(), 2);
    // All that took longer than the server keeps an idle connection.
    let mut ada = server.device("ada");
    ada.put_head(&third).expect(204);
    assert_eq!(ada.head(), (third, 3));
}

#[test]
fn it_works_on_a_full_disk() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=2m,mode=700 none '{}'",
        directory.display()
    );
    let Some(command) = in_own_namespace(&mount) else {
        return;
    };
    let server = Server::launch(command, data, &[]);
    let inside = format!("/proc/{}/root{}", server.pid(), directory.display());
    let inside = PathBuf::from(inside);
    let mut ada = server.device("ada");
    let [first, second] = ["first", "second"].map(transaction_id);
    ada.commit(&first, ROOT, &[&chunk("first")]);
    for n in 0..20 {
        ada.put_chunk(&chunk(format!("{n:0>50000}"))).expect(201);
    }
    age_all(&inside.join("users").join(user_id("ada")));
    ada.put_transaction(&second, &first, &[]).expect(201);
    std::fs::write(inside.join("filler"), vec![0; 4 << 20]).unwrap_err();
    ada.put_head(&second).expect_refusal(507, "no-space");

    assert!(said(gc(&inside, &[])).starts_with("removed 20 files, "));
    ada.put_head(&second).expect(204);
    assert_eq!(said(gc(&inside, &[])), "");
}

#[test]
fn users_who_come_and_go_meanwhile_are_no_failure() {
    let server = Server::start();
    for name in ["ada", "bob"] {
        server.device(name).put_chunk(&chunk(name)).expect(201);
    }
    let (data, over) = (server.data(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // As `users mv` does, but quicker.
        scope.spawn(|| {
            let [ada, bob] = ["ada", "bob"].map(|name| server.folder(name));
            let aside = data.join("users").join(user_id("carol"));
            while !over.load(Ordering::Relaxed) {
                for (from, to) in [(&ada, &aside), (&bob, &ada), (&aside, &bob)] {
                    std::fs::rename(from, to).unwrap();
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        });
        let ending = Ending(&over);
        let runs: Vec<Finished> = (0..30)
            .map(|_| gc(&data, &["--grace", "0s", "--force"]))
            .collect();
        drop(ending);
        for run in runs {
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        }
    });
}
