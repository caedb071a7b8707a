use crate::lossy::Lossy;
use crate::replica::{LIST, Replica, agree, settle};
use crate::server::{Server, run};

#[test]
fn two_replicas_of_one_list_edit_conflict_and_converge() {
    let server = Server::start();
    let url = server.url();
    let [mut one, mut two] = [Replica::new(), Replica::new()];
    let (milk, eggs) = (one.add("buy milk"), one.add("buy eggs"));
    one.sync(&url);
    two.sync(&url);
    assert_eq!(two.tasks(), one.tasks());
    assert_eq!(two.tasks().len(), 2);
    // Different things, the same thing differently, and one that the other deletes.
    one.change(milk, "priority", "H");
    two.change(milk, "project", "kitchen");
    one.change(eggs, "description", "buy six eggs");
    std::thread::sleep(std::time::Duration::from_millis(5));
    two.change(eggs, "description", "buy ten eggs");
    let bread = two.add("bake bread");
    two.sync(&url);
    one.sync(&url);
    two.sync(&url);
    let mut both = [one, two];
    let tasks = agree(&mut both);
    assert_eq!(tasks.len(), 3);
    assert_eq!(
        (&tasks[&milk]["priority"][..], &tasks[&milk]["project"][..]),
        ("H", "kitchen")
    );
    assert_eq!(
        tasks[&eggs]["description"], "buy ten eggs",
        "the later one stays"
    );
    let [one, two] = &mut both;
    one.delete(bread);
    two.change(bread, "priority", "L");
    one.sync(&url);
    let tasks = settle(&mut both, &url);
    assert!(!tasks.contains_key(&bread), "what was deleted stays so");
    server.is_sound();
}

#[test]
fn a_third_replica_has_all_of_it_from_the_first_sync() {
    let server = Server::start();
    let url = server.url();
    let mut all = [Replica::new(), Replica::new(), Replica::new()];
    for number in 0..10 {
        all[number % 2].add(&format!("task {number}"));
        all[number % 2].sync(&url);
    }
    let tasks = settle(&mut all, &url);
    assert_eq!(tasks.len(), 10);
    server.is_sound();
}

#[test]
fn a_list_moves_here_from_another_server_though_its_history_is_not_known_here() {
    let (there, here) = (Server::start(), Server::start());
    let mut all = [Replica::new(), Replica::new()];
    let milk = all[0].add("buy milk");
    settle(&mut all, &there.url());
    all[0].change(milk, "priority", "H");
    all[1].add("made before the other one came");
    all[0].sync(&here.url());
    let tasks = settle(&mut all, &here.url());
    assert_eq!(tasks.len(), 2);
    assert_eq!(tasks[&milk]["priority"], "H");
    // The version that they come from, of no chunks; and one of each.
    assert_eq!(here.versions(LIST), 3);
    here.is_sound();
}

#[test]
fn one_who_comes_late_to_a_list_that_moved_here_starts_from_the_snapshot() {
    let (there, here) = (Server::start(), Server::start());
    let mut one = Replica::new();
    one.add("buy milk");
    one.sync(&there.url());
    one.add("buy eggs");
    one.sync(&here.url());
    let mut late = Replica::new();
    late.sync(&here.url());
    assert_eq!(late.tasks(), one.tasks());
    assert_eq!(late.tasks().len(), 2);
}

#[test]
fn a_replica_that_is_ahead_of_a_restored_server_is_told_so_and_keeps_its_tasks() {
    let server = Server::start();
    let mut one = Replica::new();
    one.add("buy milk");
    one.sync(&server.url());
    let copy = server.copied();
    let eggs = one.add("buy eggs");
    one.sync(&server.url());
    let restored = server.beside(&copy);
    restored.is_sound();
    let bread = one.add("bake bread");
    let told = one
        .try_sync(&restored.url())
        .expect_err("its last version is not there");
    assert!(format!("{told:?}").contains("410"), "{told:?}");
    assert!(one.tasks().contains_key(&eggs) && one.tasks().contains_key(&bread));
    assert_eq!(restored.versions(LIST), 1);
    // The server that knows it takes it as before.
    one.sync(&server.url());
    assert_eq!(one.unsynced(), 0);
}

#[test]
fn one_who_is_behind_a_restored_server_goes_on() {
    let server = Server::start();
    let [mut one, mut two] = [Replica::new(), Replica::new()];
    one.add("buy milk");
    one.sync(&server.url());
    two.sync(&server.url());
    let copy = server.copied();
    one.add("buy eggs");
    one.sync(&server.url());
    let restored = server.beside(&copy);
    two.add("bake bread");
    two.sync(&restored.url());
    assert_eq!(two.tasks().len(), 2);
    let mut three = Replica::new();
    three.sync(&restored.url());
    assert_eq!(three.tasks(), two.tasks());
}

#[test]
fn an_answer_that_is_lost_costs_no_task_and_makes_none_twice() {
    let server = Server::start();
    let way = Lossy::to(server.address, 3);
    let mut all = [Replica::new(), Replica::new()];
    let mut made = Vec::new();
    for number in 0..30 {
        let replica = &mut all[number % 2];
        made.push(replica.add(&format!("task {number}")));
        // Whether it works or not.
        let _ = replica.try_sync(&way.url);
    }
    assert!(way.lost() > 5, "{}", way.lost());
    let tasks = settle(&mut all, &server.url());
    made.sort();
    assert_eq!(tasks.keys().copied().collect::<Vec<_>>(), made);
    let mut fresh = Replica::new();
    fresh.sync(&server.url());
    assert_eq!(fresh.tasks(), tasks);
    server.is_sound();
}

#[test]
fn a_thousand_versions_are_read_by_a_new_replica() {
    let server = Server::start();
    let url = server.url();
    let mut one = Replica::new();
    let milk = one.add("buy milk");
    for number in 0..1000 {
        one.change(milk, "description", &format!("buy {number} litres of milk"));
        one.sync(&url);
    }
    assert_eq!(server.versions(LIST), 1000);
    let folder = server.data().join("users").join(LIST);
    assert!(folder.join("CHECKPOINT").exists());
    let mut two = Replica::new();
    two.sync(&url);
    assert_eq!(two.tasks(), one.tasks());
    assert_eq!(two.tasks()[&milk]["description"], "buy 999 litres of milk");
    server.is_sound();
}

#[test]
fn a_version_of_megabytes_is_one_like_any_other() {
    let server = Server::start();
    let url = server.url();
    let mut both = [Replica::new(), Replica::new()];
    let long = "0123456789abcdef".repeat(300_000);
    both[0].add(&long);
    let tasks = settle(&mut both, &url);
    assert!(tasks.values().any(|task| task["description"] == long));
    server.is_sound();
}

#[test]
fn lists_with_other_secrets_or_ids_have_nothing_to_do_with_each_other() {
    let server = Server::with(&["--new-users", "deny"]);
    let mut stranger = Replica::new();
    stranger.add("nobody lets it in");
    let told = stranger
        .try_sync(&server.url())
        .expect_err("it is not known");
    assert!(format!("{told:?}").contains("403"), "{told:?}");
    let (code, said) = run(server.data(), &["users", "add", LIST]);
    assert_eq!(code, Some(0), "{said}");
    stranger.sync(&server.url());
    assert_eq!(stranger.unsynced(), 0);
}
