use serde_json::json;

use crate::kit::{ROOT, Server, chunk, transaction_id};

/// The seed from its first line to its last: what a person does with two devices.
#[test]
fn two_devices_share_a_store() {
    let server = Server::start();
    let mut phone = server.device("ada");
    let mut laptop = server.device("ada");

    // Nobody has said anything yet: the root is HEAD, and the chain is empty.
    assert_eq!(phone.head(), (ROOT.to_owned(), 0));
    assert!(phone.chain_after(ROOT).is_empty());
    let root = phone.get(&format!("transactions/{ROOT}")).expect(200);
    assert_eq!(
        root.json(),
        json!({"id": ROOT, "seq": 0, "parent": null, "chunks": []})
    );

    // The phone uploads a transaction of two chunks. Until HEAD reaches it, nobody sees it.
    let (milk, eggs) = (chunk("milk"), chunk("eggs"));
    phone.put_chunk(&milk).expect(201);
    phone.put_chunk(&eggs).expect(201);
    let shopping = transaction_id("shopping");
    phone
        .put_transaction(&shopping, ROOT, &[&milk.id, &eggs.id])
        .expect(201);
    for device in [&mut phone, &mut laptop] {
        device
            .get(&format!("transactions/{shopping}"))
            .expect_refusal(404, "unknown-transaction");
        assert_eq!(device.head(), (ROOT.to_owned(), 0));
        assert!(device.chain_after(ROOT).is_empty());
    }
    phone.put_head(&shopping).expect(204);

    // The laptop pulls: what is new, what it is made of, and the bytes.
    assert_eq!(laptop.head(), (shopping.clone(), 1));
    assert_eq!(laptop.chain_after(ROOT), [shopping.as_str()]);
    let pulled = laptop
        .get(&format!("transactions/{shopping}"))
        .expect(200)
        .json();
    assert_eq!(
        pulled,
        json!({"id": shopping, "seq": 1, "parent": ROOT, "chunks": [milk.id, eggs.id]})
    );
    for wanted in [&milk, &eggs] {
        let got = laptop.get(&format!("chunks/{}", wanted.id)).expect(200);
        assert_eq!(got.body, wanted.bytes);
    }

    // Both go on from there, and both want to be next. One is, and the other is told who was.
    let (from_phone, from_laptop) = (transaction_id("from phone"), transaction_id("from laptop"));
    let (bread, cheese) = (chunk("bread"), chunk("cheese"));
    phone.commit(&from_phone, &shopping, &[&bread]);
    laptop.put_chunk(&cheese).expect(201);
    laptop
        .put_transaction(&from_laptop, &shopping, &[&cheese.id])
        .expect(201);
    let refused = laptop
        .put_head(&from_laptop)
        .expect_refusal(409, "not-a-descendant")
        .json();
    assert_eq!(refused["head"], from_phone.as_str());
    assert_eq!(refused["seq"], 2);

    // The laptop pulls what came between, and says the same again on top of it.
    assert_eq!(laptop.chain_after(&shopping), [from_phone.as_str()]);
    let again = transaction_id("from laptop, again");
    laptop
        .put_transaction(&again, &from_phone, &[&cheese.id])
        .expect(201);
    laptop.put_head(&again).expect(204);
    assert_eq!(phone.head(), (again.clone(), 3));
    assert_eq!(
        phone.chain_after(ROOT),
        [shopping.as_str(), &from_phone, &again]
    );
    assert_eq!(phone.chain_after(&from_phone), [again.as_str()]);

    // What was abandoned stays out of sight.
    phone
        .get(&format!("transactions/{from_laptop}"))
        .expect_refusal(404, "unknown-transaction");
    phone
        .get(&format!("transactions?from={from_laptop}"))
        .expect_refusal(404, "unknown-transaction");

    // And all of it is there after a restart.
    let server = server.restart();
    let mut phone = server.device("ada");
    assert_eq!(phone.head(), (again.clone(), 3));
    assert_eq!(
        phone.chain_after(ROOT),
        [shopping.as_str(), &from_phone, &again]
    );
    let got = phone.get(&format!("chunks/{}", cheese.id)).expect(200);
    assert_eq!(got.body, cheese.bytes);
}

#[test]
fn several_transactions_become_visible_with_one_advance() {
    let server = Server::start();
    let mut device = server.device("ada");
    let names: Vec<String> = (1..=20)
        .map(|n| transaction_id(&format!("step {n}")))
        .collect();
    let mut parent = ROOT.to_owned();
    for id in &names {
        device.put_transaction(id, &parent, &[]).expect(201);
        parent.clone_from(id);
    }
    for id in &names {
        device
            .get(&format!("transactions/{id}"))
            .expect_refusal(404, "unknown-transaction");
    }
    device.put_head(&parent).expect(204);
    assert_eq!(device.head(), (parent, 20));
    assert_eq!(device.chain_after(ROOT), names);
    for (n, id) in names.iter().enumerate() {
        let transaction = device.get(&format!("transactions/{id}")).expect(200).json();
        assert_eq!(transaction["seq"], n + 1);
    }
}

#[test]
fn chunks_keep_their_order_and_their_repeats() {
    let server = Server::start();
    let mut device = server.device("ada");
    let chunks = ["one", "two", "three"].map(chunk);
    for chunk in &chunks {
        device.put_chunk(chunk).expect(201);
    }
    let order: Vec<&str> = [2, 0, 0, 1, 2, 0]
        .map(|n: usize| chunks[n].id.as_str())
        .to_vec();
    let id = transaction_id("repeats");
    device.put_transaction(&id, ROOT, &order).expect(201);
    device.put_head(&id).expect(204);
    let transaction = device.get(&format!("transactions/{id}")).expect(200).json();
    assert_eq!(transaction["chunks"], json!(order));
}

#[test]
fn an_abandoned_upload_blocks_nobody() {
    let server = Server::start();
    let mut device = server.device("ada");
    // Three siblings on the root, one of them with a child: all but the last are given up.
    let siblings = ["left", "middle", "right"].map(transaction_id);
    for id in &siblings {
        device.put_transaction(id, ROOT, &[]).expect(201);
    }
    let child = transaction_id("child of left");
    device
        .put_transaction(&child, &siblings[0], &[])
        .expect(201);
    device.put_head(&siblings[2]).expect(204);
    let next = transaction_id("next");
    device.put_transaction(&next, &siblings[2], &[]).expect(201);
    device.put_head(&next).expect(204);
    assert_eq!(device.chain_after(ROOT), [siblings[2].as_str(), &next]);
    for dead in [&siblings[0], &siblings[1], &child] {
        device
            .put_head(dead)
            .expect_refusal(409, "not-a-descendant");
    }
}

#[test]
fn head_moves_only_to_a_descendant_that_has_none_itself() {
    let server = Server::start();
    let mut device = server.device("ada");
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    device.put_transaction(&first, ROOT, &[]).expect(201);
    device.put_transaction(&second, &first, &[]).expect(201);

    // `first` has a descendant that is still pending, which the answer names.
    let refused = device
        .put_head(&first)
        .expect_refusal(409, "has-descendants")
        .json();
    assert_eq!(refused["descendants"], json!([second]));
    assert_eq!(refused["head"], ROOT);
    assert_eq!(refused["seq"], 0);
    device.put_head(&second).expect(204);

    // Backwards, to itself, to the root: none is a proper descendant.
    for target in [first.as_str(), &second, ROOT] {
        let refused = device
            .put_head(target)
            .expect_refusal(409, "not-a-descendant")
            .json();
        assert_eq!(refused["head"], second.as_str());
        assert_eq!(refused["seq"], 2);
    }
    // Something nobody has uploaded.
    let refused = device
        .put_head(&third)
        .expect_refusal(409, "unknown-transaction")
        .json();
    assert_eq!(refused["head"], second.as_str());
    assert_eq!(device.head(), (second.clone(), 2));

    // A parent behind HEAD is legal to upload; such a transaction is dead.
    let late = transaction_id("late");
    device.put_transaction(&late, &first, &[]).expect(201);
    device
        .put_head(&late)
        .expect_refusal(409, "not-a-descendant");
    assert_eq!(device.head(), (second, 2));
}

#[test]
fn a_new_user_starts_at_the_root_even_where_head_is_asked_for_it() {
    let server = Server::start();
    let mut device = server.device("ada");
    let refused = device
        .put_head(ROOT)
        .expect_refusal(409, "not-a-descendant")
        .json();
    assert_eq!(refused["head"], ROOT);
    assert_eq!(refused["seq"], 0);
}

#[test]
fn users_are_apart_from_one_another() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let mut ben = server.device("ben");
    let secret = chunk("ada's");
    let id = transaction_id("same id for both");
    ada.commit(&id, ROOT, &[&secret]);

    // Ben sees nothing of it, neither through its id nor through the digest.
    assert_eq!(ben.head(), (ROOT.to_owned(), 0));
    ben.get(&format!("transactions/{id}"))
        .expect_refusal(404, "unknown-transaction");
    ben.get(&format!("chunks/{}", secret.id))
        .expect_refusal(404, "unknown-chunk");
    let missing = ben
        .put_transaction(&id, ROOT, &[&secret.id])
        .expect_refusal(404, "missing-chunks")
        .json();
    assert_eq!(missing["missing"], json!([secret.id]));

    // The same transaction id is his own to use.
    let other = chunk("ben's");
    ben.commit(&id, ROOT, &[&other]);
    let chunks = |device: &mut crate::kit::Device| {
        device.get(&format!("transactions/{id}")).expect(200).json()["chunks"].clone()
    };
    assert_eq!(chunks(&mut ada), json!([secret.id]));
    assert_eq!(chunks(&mut ben), json!([other.id]));
}

#[test]
fn asking_about_an_unknown_user_creates_nothing() {
    let server = Server::start();
    let mut device = server.device("nobody");
    assert_eq!(device.head(), (ROOT.to_owned(), 0));
    let about = device.get("").expect(200).json();
    assert_eq!(about["head"], ROOT);
    assert_eq!(about["seq"], 0);
    assert!(device.chain_after(ROOT).is_empty());
    device
        .get(&format!("chunks/{}", chunk("x").id))
        .expect_refusal(404, "unknown-chunk");
    device.get(&format!("transactions/{ROOT}")).expect(200);
    assert!(!server.folder("nobody").exists());
}

#[test]
fn the_store_says_what_it_is_and_what_its_limits_are() {
    let server = Server::with(&["--max-chunk-bytes", "1MiB"]);
    let mut device = server.device("ada");
    let with_slash = device.get("").expect(200).json();
    assert_eq!(
        with_slash,
        json!({
            "head": ROOT,
            "seq": 0,
            "api": "0.1",
            "limits": {
                "chunk_bytes": 1 << 20,
                "transaction_bytes": 16 << 20,
                "transaction_chunks": 100_000,
                "bundle_transactions": 100_000,
                "missing_ids": 100_000,
            },
            "features": ["bundle", "wait", "events", "chunks-get", "checkpoint", "taskchampion"],
        })
    );
    let path = device.path("");
    let without = device.client.get(path.trim_end_matches('/')).expect(200);
    assert_eq!(without.json(), with_slash);

    let person = device.client.get("/").expect(200);
    assert!(person.text().contains("mentat-sync"), "{}", person.text());
}
