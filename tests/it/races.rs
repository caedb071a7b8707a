use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use fs2::FileExt;
use serde_json::{Value, json};

use crate::kit::{
    Chunk, Client, Connection, Device, Ending, ROOT, Server, chunk, transaction_id,
    transaction_json, user_id,
};

#[test]
fn one_of_many_wins_each_round() {
    const RACERS: usize = 6;
    const ROUNDS: usize = 25;
    let first = Server::start();
    let second = first.another();
    let barrier = Barrier::new(RACERS);
    let results: Vec<Vec<(u16, String)>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let mut device = [&first, &second][racer % 2].device("ada");
                let barrier = &barrier;
                scope.spawn(move || {
                    (0..ROUNDS)
                        .map(|round| {
                            // Everybody's transaction stands on the same HEAD, and is there in time.
                            let head = device.head().0;
                            let id = transaction_id(&format!("{round} {racer}"));
                            device.put_transaction(&id, &head, &[]).expect(201);
                            barrier.wait();
                            let answer = device.put_head(&id);
                            let won = match answer.status {
                                204 => id,
                                _ => {
                                    let refused =
                                        answer.clone().expect_refusal(409, "not-a-descendant");
                                    refused.json()["head"].as_str().unwrap().to_owned()
                                }
                            };
                            // Nobody looks at HEAD again before all have tried.
                            barrier.wait();
                            (answer.status, won)
                        })
                        .collect()
                })
            })
            .collect();
        racers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    let mut chain = Vec::new();
    for round in 0..ROUNDS {
        let winners: Vec<&String> = (results.iter())
            .filter(|racer| racer[round].0 == 204)
            .map(|racer| &racer[round].1)
            .collect();
        let [winner] = winners.as_slice() else {
            panic!("round {round} was won by {winners:?}");
        };
        // And the others were told who it was.
        for racer in &results {
            assert_eq!(racer[round].1, **winner, "round {round}");
        }
        chain.push((*winner).clone());
    }
    for server in [&first, &second] {
        assert_eq!(server.device("ada").chain_after(ROOT), chain);
    }
}

/// What one client was promised.
#[derive(Default)]
struct Promises {
    chunks: Vec<Chunk>,
    /// Acknowledged uploads: id and parent, with the chunk they name.
    transactions: Vec<(String, String, String)>,
    /// Acknowledged advances.
    advances: Vec<String>,
    /// Heads that an answer told, with their numbers.
    heads: Vec<(String, u64)>,
}

/// What a load of writers is told, and tells.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Acknowledged advances so far.
    advances: AtomicUsize,
}

impl Load {
    /// Waits until there were so many advances, however busy the machine is.
    fn reaches(&self, advances: usize) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.advances.load(Ordering::Relaxed) < advances {
            assert!(Instant::now() < deadline, "the writers do not get on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Writes as fast as it is answered: a chunk, a transaction on HEAD, an advance; until told to stop,
/// or until the server is gone.
fn write_on(
    client: &mut Client,
    name: &str,
    load: &Load,
    promises: &mut Promises,
) -> io::Result<()> {
    let base = format!("/0.1/{}", user_id("ada"));
    for n in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        let head = client.attempt("GET", &format!("{base}/head"), &[], None)?;
        let head = head.expect(200).json();
        let seq = head["seq"].as_u64().unwrap();
        let head = head["head"].as_str().unwrap().to_owned();
        promises.heads.push((head.clone(), seq));

        let chunk = chunk(format!("{name} {n}"));
        let path = format!("{base}/chunks/{}", chunk.id);
        let answer = client.attempt("PUT", &path, &[], Some(&chunk.bytes))?;
        answer.expect(201);
        promises.chunks.push(chunk.clone());

        let id = transaction_id(&format!("{name} {n}"));
        let body = transaction_json(&head, &[&chunk.id]);
        let path = format!("{base}/transactions/{id}");
        let answer = client.attempt("PUT", &path, &[], Some(body.as_bytes()))?;
        answer.expect(201);
        promises.transactions.push((id.clone(), head, chunk.id));

        let body = json!({ "head": id }).to_string();
        let path = format!("{base}/head");
        let answer = client.attempt("PUT", &path, &[], Some(body.as_bytes()))?;
        if answer.status == 204 {
            promises.advances.push(id);
            load.advances.fetch_add(1, Ordering::Relaxed);
        } else {
            let told = answer.expect_refusal(409, "not-a-descendant").json();
            let seq = told["seq"].as_u64().unwrap();
            promises
                .heads
                .push((told["head"].as_str().unwrap().to_owned(), seq));
        }
    }
    Ok(())
}

/// Everything promised is there: chunks whole, transactions as they were, every advance and every
/// head that was ever told on the chain, each in its place.
fn keep_their_promises(device: &mut Device, promises: &[Promises]) {
    let chain = device.chain_after(ROOT);
    let seq_of: BTreeMap<&str, u64> = (1..)
        .zip(&chain)
        .map(|(seq, id)| (id.as_str(), seq))
        .chain([(ROOT, 0)])
        .collect();
    assert_eq!(seq_of.len(), chain.len() + 1, "the chain has each id once");
    let mut advances = BTreeSet::new();
    for promise in promises {
        for chunk in &promise.chunks {
            let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
            assert_eq!(got.body, chunk.bytes);
        }
        for id in &promise.advances {
            assert!(advances.insert(id), "{id} was advanced to twice");
            assert!(seq_of.contains_key(id.as_str()), "{id} is not on the chain");
        }
        for (head, seq) in &promise.heads {
            assert_eq!(seq_of.get(head.as_str()), Some(seq), "{head} was HEAD");
        }
        for (id, parent, chunk) in &promise.transactions {
            // A lost one could be uploaded anew with other content.
            device
                .put_transaction(id, parent, &[])
                .expect_refusal(409, "transaction-exists");
            if let Some(seq) = seq_of.get(id.as_str()) {
                let transaction = device.get(&format!("transactions/{id}")).expect(200).json();
                let expected: Value =
                    json!({"id": id, "seq": seq, "parent": parent, "chunks": [chunk]});
                assert_eq!(transaction, expected);
                assert_eq!(seq_of[parent.as_str()] + 1, *seq);
            }
        }
    }
}

#[test]
fn clients_of_two_processes_make_one_chain() {
    let first = Server::start();
    let second = first.another();
    let load = Load::default();
    let promises: Vec<Promises> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|n| {
                let mut client = [&first, &second][n % 2].client();
                let load = &load;
                scope.spawn(move || {
                    let mut promises = Promises::default();
                    let name = format!("writer {n}");
                    write_on(&mut client, &name, load, &mut promises).unwrap();
                    promises
                })
            })
            .collect();
        let ending = Ending(&load.stop);
        load.reaches(60);
        drop(ending);
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    for server in [&first, &second] {
        keep_their_promises(&mut server.device("ada"), &promises);
    }
    // Nothing is on the chain that nobody was told about: here every answer arrived.
    let acknowledged: usize = promises.iter().map(|p| p.advances.len()).sum();
    assert_eq!(first.device("ada").head().1, acknowledged as u64);
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut server = Server::start();
    let mut promises: Vec<Promises> = Vec::new();
    for round in 0..6 {
        let load = Load::default();
        let made: Vec<Promises> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|n| {
                    let mut client = server.client();
                    let load = &load;
                    scope.spawn(move || {
                        let mut promises = Promises::default();
                        let name = format!("round {round}, writer {n}");
                        write_on(&mut client, &name, load, &mut promises)
                            .expect_err("it writes until the server is gone");
                        promises
                    })
                })
                .collect();
            // Not at the same point of a writer's work each time.
            load.reaches(10 + round as usize);
            std::thread::sleep(Duration::from_micros(700 * round));
            server.kill();
            writers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        promises.extend(made);
        server = server.another();
        keep_their_promises(&mut server.device("ada"), &promises);
    }
    // Nor does a kill leave anything in the way of the next advance.
    let mut device = server.device("ada");
    let head = device.head().0;
    device.commit(&transaction_id("after all"), &head, &[]);
}

#[test]
fn a_killed_process_stops_nobody_else() {
    let survivor = Server::start();
    let load = Load::default();
    let promises = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (load, promises, survivor) = (&load, &promises, &survivor);
        for n in 0..2 {
            scope.spawn(move || {
                let mut made = Promises::default();
                let name = format!("survivor {n}");
                write_on(&mut survivor.client(), &name, load, &mut made).unwrap();
                promises.lock().unwrap().push(made);
            });
        }
        let _ending = Ending(&load.stop);
        for round in 0..5 {
            let mut victim = survivor.another();
            let victims = &Load::default();
            std::thread::scope(|scope| {
                for n in 0..3 {
                    let mut client = victim.client();
                    scope.spawn(move || {
                        let mut made = Promises::default();
                        let name = format!("victim {round} {n}");
                        write_on(&mut client, &name, victims, &mut made).unwrap_err();
                        promises.lock().unwrap().push(made);
                    });
                }
                victims.reaches(3);
                std::thread::sleep(Duration::from_micros(900 * round));
                victim.kill();
            });
            // The others get on, with nobody to give its locks back.
            load.reaches(load.advances.load(Ordering::Relaxed) + 3);
        }
    });
    let promises = promises.into_inner().unwrap();
    keep_their_promises(&mut survivor.device("ada"), &promises);
}

#[test]
fn a_lock_held_too_long_gives_busy_and_not_a_stuck_server() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let [first, second] = ["first", "second"].map(transaction_id);
    ada.commit(&first, ROOT, &[]);
    ada.put_transaction(&second, &first, &[]).expect(201);
    server.device("ben").put_chunk(&chunk("x")).expect(201);

    // As any program may, or a person with flock(1).
    let lock = std::fs::File::open(server.folder("ada").join("lock")).unwrap();
    FileExt::lock_exclusive(&lock).unwrap();
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        tasks.count()
    };
    let before = threads();
    let asked = Instant::now();
    let waiting: Vec<Connection> = (0..200)
        .map(|_| {
            let mut connection = Connection::open(server.address()).unwrap();
            let body = json!({ "head": second }).to_string();
            connection
                .send(format!(
                    "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                    ada.path("head"),
                    body.len()
                ))
                .unwrap();
            connection
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    // Those who wait hold no thread: others are served, and reading needs no lock.
    let mut ben = server.device("ben");
    ben.commit(&first, ROOT, &[]);
    assert_eq!(ada.head(), (first.clone(), 1));
    assert_eq!(ada.chain_after(ROOT), [first.as_str()]);
    ada.get(&format!("transactions/{first}")).expect(200);
    // None of those who wait has given up yet.
    assert!(asked.elapsed() < Duration::from_secs(9));
    assert!(threads() < before + 40, "{before}, then {}", threads());

    for mut connection in waiting {
        let answer = connection
            .answer("PUT")
            .unwrap()
            .expect_refusal(503, "busy");
        let retry: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&retry));
    }
    let waited = asked.elapsed();
    assert!(
        waited > Duration::from_secs(9) && waited < Duration::from_secs(40),
        "{waited:?}"
    );
    FileExt::unlock(&lock).unwrap();
    ada.put_head(&second).expect(204);
}

#[test]
fn a_stream_of_uploads_does_not_keep_an_advance_out() {
    let server = Server::start();
    let mut device = server.device("ada");
    device.put_chunk(&chunk("x")).expect(201);
    let stop = AtomicBool::new(false);
    let second = server.another();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let mut uploader = [&server, &second][n % 2].device("ada");
            let stop = &stop;
            scope.spawn(move || {
                for k in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    uploader.put_chunk(&chunk(format!("{n} {k}"))).expect(201);
                }
            });
        }
        // One that is kept out for ten seconds is answered 503.
        let _ending = Ending(&stop);
        let mut parent = ROOT.to_owned();
        for n in 0..20 {
            let id = transaction_id(&format!("{n}"));
            device.commit(&id, &parent, &[]);
            parent = id;
        }
    });
}

#[test]
fn a_user_can_be_deleted_while_others_write() {
    let server = Server::with(&["--allow-delete"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mut device = server.device("ada");
            let stop = &stop;
            scope.spawn(move || {
                for k in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let chunk = chunk(format!("{n} {k}"));
                    let id = transaction_id(&format!("{n} {k}"));
                    let (head, _) = device.head();
                    let answers = [
                        device.put_chunk(&chunk),
                        device.put_transaction(&id, &head, &[&chunk.id]),
                        device.put_head(&id),
                        device.get(&format!("transactions/{id}")),
                        device.get(&format!("chunks/{}", chunk.id)),
                        device.get("transactions"),
                    ];
                    for answer in answers {
                        // Done, refused because what it stands on is gone, or told to come again.
                        assert!(
                            matches!(answer.status, 200 | 201 | 204 | 404 | 409 | 503),
                            "{}: {}",
                            answer.status,
                            answer.text()
                        );
                    }
                }
            });
        }
        let _ending = Ending(&stop);
        let mut client = server.client();
        let path = format!("/0.1/{}/", user_id("ada"));
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(50));
            client.request("DELETE", &path, &[], None).expect(204);
        }
    });
    // Whatever came last, it is a store: what its chain says is there.
    let mut device = server.device("ada");
    let (head, seq) = device.head();
    let chain = device.chain_after(ROOT);
    assert_eq!(chain.len() as u64, seq);
    assert_eq!(chain.last().map_or(ROOT, String::as_str), head);
    for id in &chain {
        let transaction = device.get(&format!("transactions/{id}")).expect(200).json();
        for chunk in transaction["chunks"].as_array().unwrap() {
            device
                .get(&format!("chunks/{}", chunk.as_str().unwrap()))
                .expect(200);
        }
    }
}
