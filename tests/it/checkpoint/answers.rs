//! What GET and PUT answer, and what is on the disk then.

use serde_json::json;

use super::{Scene, put, told};
use crate::kit::{ROOT, Server, chunk, digest, transaction_id, tree};

#[test]
fn there_is_none_at_first_and_the_store_is_as_it_was() {
    let mut scene = Scene::new();
    scene
        .device
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    let store = scene.device.get("").expect(200).json();
    assert!(store.get("checkpoint").is_none(), "{store}");
    let features = store["features"].as_array().unwrap();
    assert!(features.contains(&json!("checkpoint")), "{store}");
    let names = tree(&scene.folder());
    let is_of_it = |name: &String| name.to_lowercase().contains("checkpoint");
    assert!(!names.keys().any(is_of_it), "{names:?}");
    // Nor does a refusal leave one.
    let absent = digest(b"absent");
    let refused = put(&mut scene.device, &scene.first, &[&absent]);
    let refused = refused.expect_refusal(404, "missing-chunks").json();
    assert_eq!(refused["missing"], json!([absent]));
    assert_eq!(tree(&scene.folder()), names);
}

#[test]
fn what_is_put_is_told_and_stands_on_the_disk_as_documented() {
    let mut scene = Scene::new();
    scene.put_first();
    let expected = json!({
        "transaction": scene.first, "seq": 1, "chunks": [scene.state.id]
    });
    let answer = scene.device.get("checkpoint").expect(200);
    assert_eq!(answer.json(), expected);
    let file = std::fs::read_to_string(scene.folder().join("CHECKPOINT")).unwrap();
    assert_eq!(answer.text(), file);
    assert_eq!(
        file,
        format!(
            "{{\"transaction\":\"{}\",\"seq\":1,\"chunks\":[\"{}\"]}}\n",
            scene.first, scene.state.id
        )
    );
    assert!(scene.is_in("checkpoint", &scene.state));
    // What is committed has a place to stay already.
    let ids = [scene.milk.id.as_str(), &scene.state.id, &scene.milk.id];
    put(&mut scene.device, &scene.second, &ids).expect(204);
    assert_eq!(told(&mut scene.device)["chunks"], json!(ids));
    assert!(!scene.is_in("checkpoint", &scene.milk));
    let store = scene.device.get("").expect(200).json();
    let summary = json!({ "transaction": scene.second, "seq": 2 });
    assert_eq!(store["checkpoint"], summary);
    // And it outlives the process.
    let (second, server) = (scene.second.clone(), scene.server.crash());
    assert_eq!(
        told(&mut server.device("ada"))["transaction"],
        json!(second)
    );
}

#[test]
fn only_the_newest_is_kept_and_an_older_one_is_told_which_that_is() {
    let mut scene = Scene::new();
    scene.put_first();
    put(&mut scene.device, &scene.second, &[]).expect(204);
    let older = put(&mut scene.device, &scene.first, &[&scene.state.id]);
    let older = older.expect_refusal(409, "checkpoint-older").json();
    assert_eq!(older["checkpoint"], told(&mut scene.device));
    assert_eq!(older["head"], json!(scene.second));
    assert_eq!(older["seq"], 2);
    // Another one of the same transaction is as right, and the same again is too.
    for _ in 0..2 {
        put(&mut scene.device, &scene.second, &[&scene.milk.id]).expect(204);
        assert_eq!(told(&mut scene.device)["chunks"], json!([scene.milk.id]));
    }
}

#[test]
fn the_same_again_is_checked_as_the_first() {
    let mut scene = Scene::new();
    scene.put_first();
    std::fs::remove_file(scene.file("checkpoint", &scene.state)).unwrap();
    std::fs::remove_file(scene.file("incoming/chunks", &scene.state)).unwrap();
    let again = put(&mut scene.device, &scene.first, &[&scene.state.id]);
    again.expect_refusal(404, "missing-chunks");
    scene.put_first();
    assert!(scene.is_in("checkpoint", &scene.state));
}

#[test]
fn its_transaction_must_be_on_the_chain_and_the_root_is_a_state_of_nothing() {
    let mut scene = Scene::new();
    let pending = transaction_id("pending");
    scene
        .device
        .put_transaction(&pending, &scene.second, &[])
        .expect(201);
    for id in [pending.as_str(), &transaction_id("nowhere"), ROOT] {
        let refused = put(&mut scene.device, id, &[]);
        let refused = refused.expect_refusal(409, "unknown-transaction").json();
        assert_eq!(refused["head"], json!(scene.second), "{id}");
    }
    let mut nobody = scene.server.device("nobody");
    nobody
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    let refused = put(&mut nobody, &scene.first, &[]);
    let refused = refused.expect_refusal(409, "unknown-transaction").json();
    assert_eq!(refused["head"], json!(ROOT));
    assert!(!scene.server.folder("nobody").exists());
    scene.device.put_head(&pending).expect(204);
    put(&mut scene.device, &pending, &[]).expect(204);
}

#[test]
fn one_whose_transaction_is_not_on_the_chain_reads_as_none() {
    let mut scene = Scene::new();
    scene.put_first();
    let file = scene.folder().join("CHECKPOINT");
    let off = transaction_id("elsewhere");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&scene.first, &off)).unwrap();
    scene
        .device
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    let fsck = super::run("fsck", &scene.server.data(), &["--json"]);
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
    assert!(fsck.stdout.contains("checkpoint-off-chain"), "{fsck:?}");
    // And any other takes its place.
    scene.put_first();
    assert_eq!(told(&mut scene.device)["transaction"], json!(scene.first));
}

#[test]
fn conditions_are_those_of_head() {
    let mut scene = Scene::new();
    let path = scene.device.path("checkpoint");
    let mut client = scene.server.client();
    let body = json!({ "transaction": scene.first, "chunks": [] }).to_string();
    let put = |client: &mut crate::kit::Client, tag: &str, body: &str| {
        client.request("PUT", &path, &[("if-match", tag)], Some(body.as_bytes()))
    };
    put(&mut client, "*", &body).expect_refusal(412, "precondition-failed");
    scene.put_first();
    let answer = scene.device.get("checkpoint").expect(200);
    let tag = answer.header("etag").unwrap().to_owned();
    let head = client.request("HEAD", &path, &[], None).expect(200);
    assert_eq!(head.header("etag"), Some(tag.as_str()));
    assert_eq!(
        head.header("content-length"),
        answer.header("content-length")
    );
    client
        .get_with(&path, &[("if-none-match", &tag)])
        .expect(304);
    put(&mut client, "\"other\"", &body).expect_refusal(412, "precondition-failed");
    put(&mut client, &tag, &body).expect(204);
    // Of the same transaction, but another one.
    put(&mut client, &tag, &body).expect_refusal(412, "precondition-failed");
    let other = client.get_with(&path, &[("if-none-match", &tag)]);
    assert_ne!(other.expect(200).header("etag"), Some(tag.as_str()));
}

#[test]
fn a_body_is_a_transaction_and_chunks_and_no_longer_than_a_transactions() {
    let mut scene = Scene::new();
    let id = scene.first.clone();
    for body in [
        "".to_owned(),
        "[]".to_owned(),
        json!({ "transaction": id }).to_string(),
        json!({ "transaction": id, "chunks": [], "seq": 1 }).to_string(),
        json!({ "transaction": id, "chunks": null }).to_string(),
    ] {
        let refused = scene.device.put("checkpoint", body);
        refused.expect_refusal(400, "malformed-json");
    }
    for (id, chunk) in [
        (id.to_uppercase(), digest(b"")),
        (id.clone(), digest(b"").to_uppercase()),
        // Without --uuid-chunk-ids a uuid is no chunk's.
        (id.clone(), transaction_id("alias")),
    ] {
        let refused = put(&mut scene.device, &id, &[&chunk]);
        refused.expect_refusal(400, "malformed-id");
    }
    let many = vec![scene.milk.id.as_str(); 100_001];
    let refused = put(&mut scene.device, &id, &many).expect_refusal(413, "too-large");
    assert_eq!(refused.json()["limit"], 100_000);
    put(&mut scene.device, &id, &many[1..]).expect(204);
    let long = format!("{{{}}}", " ".repeat(16 << 20));
    let refused = scene.device.put("checkpoint", long);
    assert_eq!(
        refused.expect_refusal(413, "too-large").json()["limit"],
        16 << 20
    );
    let path = scene.device.path("checkpoint");
    let mut client = scene.server.client();
    let posted = client.request("POST", &path, &[], Some(b"{}"));
    let posted = posted.expect_refusal(405, "method-not-allowed");
    assert_eq!(posted.header("allow"), Some("GET, HEAD, PUT"));
}

#[test]
fn a_chunk_named_by_a_uuid_is_told_by_its_digest() {
    let mut scene = Scene::with(&["--uuid-chunk-ids"]);
    let alias = transaction_id("alias");
    scene
        .device
        .put(&format!("chunks/{alias}"), &scene.state.bytes)
        .expect(201);
    let absent = transaction_id("absent");
    let refused = put(&mut scene.device, &scene.first, &[&alias, &absent]);
    let refused = refused.expect_refusal(404, "missing-chunks").json();
    assert_eq!(refused["missing"], json!([absent]));
    for _ in 0..2 {
        put(&mut scene.device, &scene.first, &[&alias]).expect(204);
        assert_eq!(told(&mut scene.device)["chunks"], json!([scene.state.id]));
    }
    assert!(scene.is_in("checkpoint", &scene.state));
}

#[test]
fn new_users_are_as_unwelcome_here_as_elsewhere() {
    let server = Server::with(&["--new-users", "deny"]);
    let mut ada = server.device("ada");
    ada.get("checkpoint").expect_refusal(403, "unknown-user");
    put(&mut ada, &transaction_id("first"), &[]).expect_refusal(403, "unknown-user");
}

#[test]
fn a_damaged_one_is_said_and_the_rest_is_served() {
    let mut scene = Scene::new();
    scene.put_first();
    let file = scene.folder().join("CHECKPOINT");
    let text = std::fs::read_to_string(&file).unwrap();
    for bad in [
        "".to_owned(),
        text[..20].to_owned(),
        text.replace("\"seq\":1", "\"seq\":2"),
        text.replace(&scene.first, ROOT),
        text.replace("\"chunks\":", "\"chunks\": "),
    ] {
        std::fs::write(&file, &bad).unwrap();
        scene
            .device
            .get("checkpoint")
            .expect_refusal(500, "damaged");
        if !bad.contains(ROOT) && !bad.contains("\"seq\":2") {
            put(&mut scene.device, &scene.second, &[]).expect_refusal(500, "damaged");
        }
        let store = scene.device.get("").expect(200).json();
        assert!(store.get("checkpoint").is_none(), "{store}");
        scene.device.put_chunk(&chunk("more")).expect(201);
    }
    let fsck = super::run("fsck", &scene.server.data(), &["--json"]);
    assert_eq!(fsck.code, Some(1), "{fsck:?}");
    assert!(fsck.stdout.contains("checkpoint-damaged"), "{fsck:?}");
}

#[test]
fn a_log_that_is_lost_does_not_matter() {
    let mut scene = Scene::new();
    scene.put_first();
    let log = scene.folder().join("log");
    // An answer does not wait for the log to be rebuilt, so it may not be back yet.
    let lose = || match std::fs::remove_file(&log) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    };
    assert!(log.exists());
    lose();
    assert_eq!(told(&mut scene.device)["transaction"], json!(scene.first));
    lose();
    scene.put_first();
    lose();
    let path = scene.device.path("checkpoint");
    let body = json!({ "transaction": scene.first, "chunks": [] }).to_string();
    let mut client = scene.server.client();
    let put = client.request("PUT", &path, &[("if-match", "*")], Some(body.as_bytes()));
    put.expect(204);
}

#[test]
fn two_servers_tell_the_same() {
    let mut scene = Scene::new();
    let other = scene.server.another();
    let mut elsewhere = other.device("ada");
    elsewhere
        .get("checkpoint")
        .expect_refusal(404, "no-checkpoint");
    scene.put_first();
    assert_eq!(told(&mut elsewhere), told(&mut scene.device));
    put(&mut elsewhere, &scene.second, &[]).expect(204);
    assert_eq!(told(&mut elsewhere), told(&mut scene.device));
    let older = put(&mut scene.device, &scene.first, &[&scene.state.id]);
    older.expect_refusal(409, "checkpoint-older");
}
