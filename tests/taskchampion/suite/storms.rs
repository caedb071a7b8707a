use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskchampion::Uuid;

use crate::replica::{LIST, Replica, Tasks};
use crate::server::{Server, free_port};

/// Replicas at work at a time.
const REPLICAS: usize = 4;

/// What one replica makes of a list until the time is up: tasks, changes of those that it made, and now and then a
/// deletion. Returns the tasks that it made, each with its last description, and the deleted ones without.
fn work(
    replica: &mut Replica,
    name: usize,
    urls: &[String],
    over: &AtomicBool,
    failed: &AtomicUsize,
) -> Vec<(Uuid, Option<String>)> {
    let mut mine: Vec<(Uuid, Option<String>)> = Vec::new();
    for round in 0.. {
        let description = format!("task {round} of {name}");
        match round % 5 {
            3 => {
                let (id, told) = &mut mine[round / 2 % round.min(3)];
                if told.is_some() {
                    replica.change(*id, "description", &description);
                    *told = Some(description);
                }
            }
            4 => {
                let last = mine.last_mut().expect("it made some");
                if last.1.take().is_some() {
                    replica.delete(last.0);
                }
            }
            _ => mine.push((replica.add(&description), Some(description))),
        }
        if replica
            .try_sync(&urls[(round + name) % urls.len()])
            .is_err()
        {
            failed.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
        }
        if over.load(Ordering::SeqCst) {
            break;
        }
    }
    mine
}

/// Lets replicas work until `meanwhile` returns, and then agree: every task is there as it was left, and no other.
fn storm(urls: &[String], at_the_end: &str, meanwhile: impl FnOnce()) -> (Tasks, usize) {
    let (over, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ready = Barrier::new(REPLICAS + 1);
    let made: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..REPLICAS)
            .map(|name| {
                let (over, failed, ready) = (&over, &failed, &ready);
                scope.spawn(move || {
                    let mut replica = Replica::new();
                    for url in urls {
                        replica.prepare(url);
                    }
                    ready.wait();
                    let made = work(&mut replica, name, urls, over, failed);
                    // What it made is on the server then, whoever else is at it.
                    replica.sync_in_the_end(at_the_end);
                    (made, replica.unsynced())
                })
            })
            .collect();
        ready.wait();
        meanwhile();
        over.store(true, Ordering::SeqCst);
        workers
            .into_iter()
            .map(|worker| worker.join().expect("it ends"))
            .collect()
    });
    let mut replica = Replica::new();
    replica.sync_in_the_end(at_the_end);
    let tasks = replica.tasks();
    let mut number = 0;
    for (made, unsynced) in made {
        assert_eq!(unsynced, 0);
        for (id, told) in made {
            let there = tasks.get(&id).map(|task| task["description"].clone());
            assert_eq!(there, told, "{id}");
            number += usize::from(told.is_some());
        }
    }
    assert_eq!(tasks.len(), number, "a task that nobody made");
    (tasks, failed.into_inner())
}

#[test]
fn replicas_that_all_sync_at_once_lose_nothing() {
    let server = Server::start();
    let urls = [server.url()];
    let (tasks, _) = storm(&urls, &urls[0], || thread::sleep(Duration::from_secs(4)));
    assert!(tasks.len() > 2 * REPLICAS, "{}", tasks.len());
    server.is_sound();
}

#[test]
fn two_servers_on_one_directory_are_as_good_as_one() {
    let server = Server::start();
    let other = server.another();
    let urls = [server.url(), other.url()];
    let (tasks, _) = storm(&urls, &urls[1], || thread::sleep(Duration::from_secs(4)));
    assert!(tasks.len() > 2 * REPLICAS, "{}", tasks.len());
    assert_eq!(server.versions(LIST), other.versions(LIST));
    server.is_sound();
}

#[test]
fn a_server_that_is_killed_at_random_loses_no_task() {
    let port = free_port();
    let first = Server::start();
    let mut server = first.another_at(&port.to_string());
    let urls = [server.url(), first.url()];
    let mut kills = 0;
    let (tasks, failed) = storm(&urls[..1], &urls[1], || {
        let end = Instant::now() + Duration::from_secs(12);
        let mut wait = 40;
        while Instant::now() < end {
            wait = wait * 7 % 331;
            thread::sleep(Duration::from_millis(30 + wait));
            server.kill();
            kills += 1;
            server = first.another_at(&port.to_string());
        }
    });
    assert!(kills > 10 && failed > 0, "{kills} kills, {failed} failed");
    println!(
        "{kills} kills, {failed} syncs failed, {} tasks in the end",
        tasks.len()
    );
    assert!(tasks.len() > 2 * REPLICAS, "{}", tasks.len());
    first.is_sound();
}
