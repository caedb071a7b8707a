use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::kit::{Answer, Connection, ROOT, Server, chunk, digest, transaction_id, user_id};

/// Mentat's own client: a connection per request, every body in chunked transfer without a length,
/// and `application/json` whatever it is.
struct Mentat {
    address: SocketAddr,
    base: String,
}

impl Mentat {
    fn of(server: &Server, user: &str) -> Self {
        Self {
            address: server.address(),
            base: format!("/0.1/{}", user_id(user)),
        }
    }

    #[track_caller]
    fn get(&self, rest: &str) -> Answer {
        let mut connection = Connection::open(self.address).unwrap();
        connection
            .send(format!(
                "GET {}/{rest} HTTP/1.1\r\nhost: {}\r\n\r\n",
                self.base, self.address
            ))
            .unwrap();
        connection.answer("GET").unwrap()
    }

    #[track_caller]
    fn put(&self, rest: &str, body: &[u8]) -> Answer {
        let mut connection = Connection::open(self.address).unwrap();
        connection
            .send(format!(
                "PUT {}/{rest} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n",
                self.base, self.address
            ))
            .unwrap();
        if !body.is_empty() {
            connection
                .send([format!("{:X}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat())
                .unwrap();
        }
        connection.send("0\r\n\r\n").unwrap();
        connection.answer("PUT").unwrap()
    }

    /// What it takes for an answer to an upload: exactly this status, and no body.
    #[track_caller]
    fn puts(&self, rest: &str, body: &[u8], status: u16) {
        let answer = self.put(rest, body).expect(status);
        assert!(answer.body.is_empty(), "{}", answer.text());
    }

    #[track_caller]
    fn put_chunk(&self, id: &str, bytes: &[u8]) {
        self.puts(&format!("chunks/{id}"), bytes, 201);
    }

    #[track_caller]
    fn put_transaction(&self, id: &str, parent: &str, chunks: &[String]) {
        let body = json!({ "parent": parent, "chunks": chunks }).to_string();
        self.puts(&format!("transactions/{id}"), body.as_bytes(), 201);
    }

    fn head_body(id: &str) -> Vec<u8> {
        json!({ "head": id }).to_string().into_bytes()
    }

    /// What it reads of a listing: `from`, an integer `limit`, and the ids. It sends no `limit`.
    #[track_caller]
    fn chain_after(&self, from: &str) -> Vec<String> {
        let listing = self
            .get(&format!("transactions?from={from}"))
            .expect(200)
            .json();
        assert_eq!(listing["from"], from);
        assert!(listing["limit"].is_u64(), "{listing}");
        serde_json::from_value(listing["transactions"].clone()).unwrap()
    }
}

fn serving() -> Server {
    Server::with(&["--uuid-chunk-ids"])
}

/// Uuids for chunks, as the client draws them.
fn alias(name: &str) -> String {
    transaction_id(&format!("chunk {name}"))
}

#[test]
fn mentat_s_client_uploads_and_another_pulls() {
    let server = serving();
    let phone = Mentat::of(&server, "ada");
    let head = phone.get("head").expect(200).json();
    assert_eq!(head["head"], ROOT);

    // Three transactions, of 95, 1 and 0 chunks, and one advance over all of them.
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    let datoms: Vec<(String, Vec<u8>)> = (0..96)
        .map(|n| {
            let bytes = json!([{"e": n, "a": ":page/url", "added": true}]).to_string();
            (alias(&n.to_string()), bytes.into_bytes())
        })
        .collect();
    for (id, bytes) in &datoms {
        phone.put_chunk(id, bytes);
    }
    let ids: Vec<String> = datoms.iter().map(|(id, _)| id.clone()).collect();
    phone.put_transaction(&first, ROOT, &ids[..95]);
    phone.put_transaction(&second, &first, &ids[95..]);
    phone.put_transaction(&third, &second, &[]);
    phone.puts("head", &Mentat::head_body(&third), 204);

    let laptop = Mentat::of(&server, "ada");
    assert_eq!(
        laptop.get("head").expect(200).json(),
        json!({"head": third, "seq": 3})
    );
    assert_eq!(laptop.chain_after(ROOT), [first.as_str(), &second, &third]);
    let mut pulled: Vec<(String, Vec<u8>)> = Vec::new();
    for (n, id) in [&first, &second, &third].into_iter().enumerate() {
        let transaction = laptop.get(&format!("transactions/{id}")).expect(200).json();
        assert_eq!(transaction["id"], id.as_str());
        assert_eq!(transaction["seq"], json!(n + 1));
        for chunk in transaction["chunks"].as_array().unwrap() {
            let chunk = chunk.as_str().unwrap();
            let got = laptop.get(&format!("chunks/{chunk}")).expect(200);
            pulled.push((chunk.to_owned(), got.body));
        }
    }
    // Verbatim: the uuids in their order, and the bytes.
    assert_eq!(pulled, datoms);
}

#[test]
fn of_two_siblings_one_wins_and_the_other_is_told() {
    let server = serving();
    let (phone, laptop) = (Mentat::of(&server, "ada"), Mentat::of(&server, "ada"));
    let [from_phone, from_laptop] = ["phone", "laptop"].map(transaction_id);
    for (device, id) in [(&phone, &from_phone), (&laptop, &from_laptop)] {
        let chunk = alias(id);
        device.put_chunk(&chunk, id.as_bytes());
        device.put_transaction(id, ROOT, &[chunk]);
    }
    let both = std::thread::scope(|scope| {
        [(&phone, &from_phone), (&laptop, &from_laptop)]
            .map(|(device, id)| scope.spawn(|| device.put("head", &Mentat::head_body(id))))
            .map(|thread| thread.join().unwrap())
    });
    let mut statuses = both.each_ref().map(|answer| answer.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    let [winner, loser] = if both[0].status == 204 {
        [&from_phone, &from_laptop]
    } else {
        [&from_laptop, &from_phone]
    };
    let [one, other] = both;
    let refused = if one.status == 409 { one } else { other };
    let refused = refused.expect_refusal(409, "not-a-descendant").json();
    assert_eq!(refused["head"], winner.as_str());
    assert_eq!(phone.chain_after(ROOT), [winner.as_str()]);
    phone
        .get(&format!("transactions/{loser}"))
        .expect_refusal(404, "unknown-transaction");
}

#[test]
fn a_uuid_stands_for_the_same_bytes_for_ever() {
    let server = serving();
    let device = Mentat::of(&server, "ada");
    let id = alias("one");
    device.put_chunk(&id, b"some bytes");
    device.put_chunk(&id, b"some bytes");
    device
        .put(&format!("chunks/{id}"), b"other bytes")
        .expect_refusal(409, "chunk-exists");
    // After it was committed, and after a restart: the same.
    let first = transaction_id("first");
    device.put_transaction(&first, ROOT, std::slice::from_ref(&id));
    device.puts("head", &Mentat::head_body(&first), 204);
    let server = server.restart();
    let device = Mentat::of(&server, "ada");
    device.put_chunk(&id, b"some bytes");
    device
        .put(&format!("chunks/{id}"), b"other bytes")
        .expect_refusal(409, "chunk-exists");
    let got = device.get(&format!("chunks/{id}")).expect(200);
    assert_eq!(got.body, b"some bytes");
    // What was refused stands nowhere.
    device
        .get(&format!("chunks/{}", digest(b"other bytes")))
        .expect_refusal(404, "unknown-chunk");
}

#[test]
fn the_bytes_are_stored_once_under_their_digest() {
    let server = serving();
    let device = Mentat::of(&server, "ada");
    let whole = chunk("shared bytes");
    let aliases = [alias("one"), alias("two")];
    for id in &aliases {
        device.put_chunk(id, &whole.bytes);
    }
    device.put_chunk(&whole.id, &whole.bytes);
    let folder = server.folder("ada");
    let alias_name = |id: &str| format!("aliases/{}/{id}", &id[..2]);
    let chunk_name = format!("chunks/{}/{}", &whole.id[..2], whole.id);
    for id in &aliases {
        let file = folder.join("incoming").join(alias_name(id));
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            format!("{}\n", whole.id)
        );
    }
    assert!(folder.join("incoming").join(&chunk_name).exists());

    // A transaction may mix them; what it names is committed, and what it does not name is not.
    let first = transaction_id("first");
    let named = [aliases[0].clone(), whole.id.clone(), aliases[0].clone()];
    device.put_transaction(&first, ROOT, &named);
    device.puts("head", &Mentat::head_body(&first), 204);
    assert_eq!(
        std::fs::read_to_string(folder.join(alias_name(&aliases[0]))).unwrap(),
        format!("{}\n", whole.id)
    );
    assert_eq!(std::fs::read(folder.join(chunk_name)).unwrap(), whole.bytes);
    assert!(!folder.join(alias_name(&aliases[1])).exists());
    let transaction = device.get(&format!("transactions/{first}")).expect(200);
    assert_eq!(transaction.json()["chunks"], json!(named));
    for id in named.iter().chain(&aliases) {
        let got = device.get(&format!("chunks/{id}")).expect(200);
        assert_eq!(got.body, whole.bytes);
    }
}

#[test]
fn a_uuid_that_nobody_uploaded_is_missing() {
    let server = serving();
    let device = Mentat::of(&server, "ada");
    let id = alias("absent");
    device
        .get(&format!("chunks/{id}"))
        .expect_refusal(404, "unknown-chunk");
    let body = json!({ "parent": ROOT, "chunks": [id, digest(b"absent")] }).to_string();
    let missing: Value = device
        .put(
            &format!("transactions/{}", transaction_id("first")),
            body.as_bytes(),
        )
        .expect_refusal(404, "missing-chunks")
        .json();
    assert_eq!(missing["missing"], json!([id, digest(b"absent")]));
    // One spelling, here too.
    for bad in [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("urn:uuid:{id}"),
    ] {
        device
            .put(&format!("chunks/{bad}"), b"x")
            .expect_refusal(400, "malformed-id");
    }
}

#[test]
fn a_digest_is_still_checked() {
    let server = serving();
    let device = Mentat::of(&server, "ada");
    device
        .put(&format!("chunks/{}", digest(b"claimed")), b"other")
        .expect_refusal(400, "digest-mismatch");
}
