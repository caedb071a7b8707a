//! gc, fsck, quotas, users and deletion know the checkpoint.

use serde_json::{Value, json};

use super::{Scene, age, age_all, forget, lines, put, run, scribble, told};
use crate::kit::{Chunk, chunk, tree, user_id};

/// The kinds that fsck finds which are not harmless.
fn found(scene: &Scene, flags: &[&str]) -> Vec<String> {
    let flags = [&["--json"], flags].concat();
    let fsck = run("fsck", &scene.server.data(), &flags);
    let lines = lines(&fsck);
    let is_finding = |line: &&Value| line["severity"].is_string() && line["severity"] != "harmless";
    let found = lines.iter().filter(is_finding);
    let kinds: Vec<_> = found
        .map(|line| line["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fsck.code, Some(i32::from(!kinds.is_empty())), "{fsck:?}");
    kinds
}

#[test]
fn gc_takes_what_it_does_not_name_any_more_after_the_grace_period() {
    let mut scene = Scene::new();
    scene.put_first();
    age_all(&scene.folder());
    // Named, it stays; the upload has done its work.
    assert_eq!(run("gc", &scene.server.data(), &[]).code, Some(0));
    assert!(!scene.is_in("incoming/chunks", &scene.state));
    assert!(scene.is_in("checkpoint", &scene.state));
    let bytes = scene.device.get(&format!("chunks/{}", scene.state.id));
    assert_eq!(bytes.expect(200).body, scene.state.bytes);

    // From now on it is old.
    put(&mut scene.device, &scene.second, &[]).expect(204);
    run("gc", &scene.server.data(), &[]);
    assert!(
        scene.is_in("checkpoint", &scene.state),
        "whoever reads it has time"
    );
    forget(&scene.folder());
    age(&scene.file("checkpoint", &scene.state));
    let dry = lines(&run("gc", &scene.server.data(), &["--dry-run", "--json"]));
    let tells = |line: &&Value| {
        let path = line["path"].as_str().or(line["file"].as_str());
        path.is_some_and(|path| path.contains(&format!("/checkpoint/{}", &scene.state.id[..2])))
    };
    assert!(dry.iter().any(|line| tells(&line)), "{dry:?}");
    assert!(scene.is_in("checkpoint", &scene.state));
    let gone = lines(&run("gc", &scene.server.data(), &["--json"]));
    assert!(gone.iter().any(|line| tells(&line)), "{gone:?}");
    assert!(!scene.is_in("checkpoint", &scene.state));
    let gone = scene.device.get(&format!("chunks/{}", scene.state.id));
    gone.expect_refusal(404, "unknown-chunk");
    assert_eq!(found(&scene, &[]), [""; 0]);
}

#[test]
fn gc_believes_no_date_that_cannot_be_right() {
    let mut scene = Scene::new();
    scene.put_first();
    put(&mut scene.device, &scene.second, &[]).expect(204);
    run("gc", &scene.server.data(), &[]);
    age(&scene.file("checkpoint", &scene.state));
    // Nothing so old was left by the run before.
    run("gc", &scene.server.data(), &[]);
    assert!(scene.is_in("checkpoint", &scene.state));
}

#[test]
fn gc_keeps_all_where_it_cannot_read_what_is_named() {
    let mut scene = Scene::new();
    scene.put_first();
    std::fs::write(scene.folder().join("CHECKPOINT"), "{").unwrap();
    age_all(&scene.folder());
    let gc = run("gc", &scene.server.data(), &[]);
    assert_ne!(gc.code, Some(0), "{gc:?}");
    assert!(scene.is_in("checkpoint", &scene.state));
}

#[test]
fn a_chunk_that_only_it_has_can_be_named_by_a_transaction() {
    let mut scene = Scene::new();
    scene.put_first();
    age_all(&scene.folder());
    run("gc", &scene.server.data(), &[]);
    assert!(!scene.is_in("incoming/chunks", &scene.state));
    let missing = scene.server.client().request(
        "POST",
        &scene.device.path("chunks/missing"),
        &[],
        Some(json!([scene.state.id]).to_string().as_bytes()),
    );
    assert_eq!(missing.expect(200).json()["missing"], json!([]));
    assert!(scene.is_in("incoming/chunks", &scene.state), "it was told");
    std::fs::remove_file(scene.file("incoming/chunks", &scene.state)).unwrap();
    let third = crate::kit::transaction_id("third");
    let (second, id) = (scene.second.clone(), scene.state.id.clone());
    scene
        .device
        .put_transaction(&third, &second, &[&id])
        .expect(201);
    assert!(scene.is_in("incoming/chunks", &scene.state), "it is named");
    put(&mut scene.device, &second, &[]).expect(204);
    scene.device.put_head(&third).expect(204);
    assert!(scene.is_in("chunks", &scene.state));
    assert_eq!(found(&scene, &[]), [""; 0]);
}

#[test]
fn fsck_checks_its_chunks_and_mends_them_from_incoming() {
    let mut scene = Scene::new();
    scene.put_first();
    assert_eq!(found(&scene, &[]), [""; 0]);
    let in_checkpoint = scene.file("checkpoint", &scene.state);
    let incoming = scene.file("incoming/chunks", &scene.state);

    // Wrong bytes are seen by reading.
    scribble(&in_checkpoint, &vec![b'!'; scene.state.bytes.len()]);
    assert_eq!(found(&scene, &["--quick"]), [""; 0]);
    assert_eq!(found(&scene, &[]), ["chunk-damaged"]);
    run("fsck", &scene.server.data(), &["--repair"]);
    assert_eq!(std::fs::read(&in_checkpoint).unwrap(), scene.state.bytes);
    assert_eq!(found(&scene, &[]), [""; 0]);

    // A name that is gone, by looking.
    std::fs::remove_file(&in_checkpoint).unwrap();
    assert_eq!(found(&scene, &["--quick"]), ["chunk-uncommitted"]);
    run("fsck", &scene.server.data(), &["--repair"]);
    assert!(in_checkpoint.exists());
    std::fs::remove_file(&in_checkpoint).unwrap();
    std::fs::remove_file(&incoming).unwrap();
    assert_eq!(found(&scene, &["--quick"]), ["chunk-missing"]);
    run("fsck", &scene.server.data(), &["--repair"]);
    assert_eq!(found(&scene, &["--quick"]), ["chunk-missing"]);

    // Uploaded again, it would go with the next gc, which gives it its place instead.
    let state = Chunk {
        id: scene.state.id.clone(),
        bytes: scene.state.bytes.clone(),
    };
    scene.device.put_chunk(&state).expect(201);
    age_all(&scene.folder());
    run("gc", &scene.server.data(), &[]);
    assert!(in_checkpoint.exists() && !incoming.exists());
    assert_eq!(found(&scene, &[]), [""; 0]);
    let bytes = scene.device.get(&format!("chunks/{}", state.id));
    assert_eq!(bytes.expect(200).body, state.bytes);
}

#[test]
fn fsck_sets_a_damaged_one_aside() {
    let mut scene = Scene::new();
    scene.put_first();
    let file = scene.folder().join("CHECKPOINT");
    std::fs::write(&file, "nonsense").unwrap();
    assert_eq!(found(&scene, &["--quick"]), ["checkpoint-damaged"]);
    run("fsck", &scene.server.data(), &["--repair"]);
    assert!(!file.exists());
    let lost = tree(&scene.folder().join("lost+found"));
    assert!(
        lost.keys().any(|name| name.starts_with("CHECKPOINT.")),
        "{lost:?}"
    );
    scene
        .device
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    scene.put_first();
    assert_eq!(found(&scene, &[]), [""; 0]);
}

#[test]
fn it_counts_once_and_is_shown() {
    let mut scene = Scene::new();
    let shown = |scene: &Scene| {
        let users = lines(&run("users", &scene.server.data(), &["--json"]));
        (
            users[0]["files"].as_u64().unwrap(),
            users[0]["bytes"].as_u64().unwrap(),
        )
    };
    scene.device.put_chunk(&scene.state).expect(201);
    // So that what gc remembers is counted.
    run("gc", &scene.server.data(), &[]);
    let (files, bytes) = shown(&scene);
    scene.put_first();
    let length = std::fs::metadata(scene.folder().join("CHECKPOINT"))
        .unwrap()
        .len();
    assert_eq!(
        shown(&scene),
        (files + 1, bytes + length),
        "one file with two names"
    );
    age_all(&scene.folder());
    run("gc", &scene.server.data(), &[]);
    assert_eq!(shown(&scene), (files + 1, bytes + length));
}

#[test]
fn it_takes_room_like_any_file_and_a_replacement_only_what_is_more() {
    let mut scene = Scene::with(&["--max-user-files", "14"]);
    scene.put_first();
    let mut full = None;
    for n in 0..1000 {
        let answer = scene.device.put_chunk(&chunk(format!("{n}")));
        if answer.status != 201 {
            full = Some(answer);
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    full.expect("it is full")
        .expect_refusal(507, "quota-exceeded");
    put(&mut scene.device, &scene.second, &[&scene.milk.id]).expect(204);
    std::fs::remove_file(scene.folder().join("CHECKPOINT")).unwrap();
    let refused = put(&mut scene.device, &scene.second, &[&scene.milk.id]);
    refused.expect_refusal(507, "quota-exceeded");
    assert!(!scene.folder().join("CHECKPOINT").exists());
}

#[test]
fn it_goes_along_when_a_user_is_renamed_and_goes_with_a_deleted_one() {
    let mut scene = Scene::with(&["--allow-delete"]);
    scene.put_first();
    let before = told(&mut scene.device);
    let [ada, ben] = ["ada", "ben"].map(user_id);
    let data = scene.server.data();
    let mut mv = crate::kit::binary();
    mv.args(["users", "mv", &ada, &ben, "--data"]).arg(&data);
    let moved = crate::kit::run_with_deadline(&mut mv);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    scene
        .device
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    let mut ben = scene.server.device("ben");
    assert_eq!(told(&mut ben), before);
    let path = ben.path("");
    scene
        .server
        .client()
        .request("DELETE", &path, &[], None)
        .expect(204);
    ben.get("checkpoint").expect_refusal(404, "no-checkpoint");
    assert!(!scene.server.folder("ben").exists());
}
