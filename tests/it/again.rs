//! Chunks that went missing or were cut short on the disk, and are uploaded again: what is acknowledged is there,
//! for good.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::kit::{
    Chunk, Device, Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id,
};

fn run(server: &Server, command: &str, flags: &[&str]) -> Finished {
    let mut binary = binary();
    run_with_deadline(
        binary
            .arg(command)
            .arg("--data")
            .arg(server.data())
            .args(flags),
    )
}

fn file(server: &Server, area: &str, chunk: &Chunk) -> PathBuf {
    let place = format!("{area}chunks/{}/{}", &chunk.id[..2], chunk.id);
    server.folder("ada").join(place)
}

fn get(device: &mut Device, chunk: &Chunk) -> Vec<u8> {
    device.get(&format!("chunks/{}", chunk.id)).expect(200).body
}

/// A server with two transactions, of which the first names the chunk.
fn committed(chunk: &Chunk) -> (Server, Device) {
    let server = Server::start();
    let mut device = server.device("ada");
    let [one, two] = ["one", "two"].map(transaction_id);
    device.commit(&one, ROOT, &[chunk]);
    device.commit(&two, &one, &[]);
    (server, device)
}

/// How a committed chunk came to be missing, and nothing in `lost+found` says so.
fn lose(server: &Server, chunk: &Chunk, how: &str) {
    let place = file(server, "", chunk);
    match how {
        "repaired, and lost+found emptied by hand" => {
            fs::write(&place, "XX").unwrap();
            run(server, "fsck", &["--repair"]);
            assert!(!place.exists());
            fs::remove_dir_all(server.folder("ada").join("lost+found")).unwrap();
        }
        _ => fs::remove_file(&place).unwrap(),
    }
}

#[test]
fn a_committed_chunk_that_came_again_is_put_back_by_gc_and_by_fsck() {
    for how in ["repaired, and lost+found emptied by hand", "removed"] {
        for tool in ["gc", "fsck"] {
            let chunk = chunk("lost");
            let (server, mut device) = committed(&chunk);
            lose(&server, &chunk, how);
            device.put_chunk(&chunk).expect(201);
            if tool == "gc" {
                let would = run(&server, "gc", &["--grace", "0s", "--dry-run"]);
                assert_eq!((would.code, &*would.stdout), (Some(0), ""), "{would:?}");
                assert!(would.stderr.contains("would be put back"), "{would:?}");
            } else {
                let found = run(&server, "fsck", &[]);
                assert_eq!(found.code, Some(1), "{found:?}");
                assert!(found.stdout.contains("chunk-uncommitted"), "{found:?}");
                let mended = run(&server, "fsck", &["--repair"]);
                assert!(mended.stdout.contains("into its place"), "{mended:?}");
            }
            let ended = run(&server, "gc", &["--grace", "0s"]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            let said = ended.stderr.contains("put back into its place");
            assert_eq!(said, tool == "gc", "{ended:?}");
            assert!(file(&server, "", &chunk).exists(), "{how}, {tool}");
            assert!(!file(&server, "incoming/", &chunk).exists());
            assert_eq!(get(&mut device, &chunk), chunk.bytes);
            let sound = run(&server, "fsck", &[]);
            assert_eq!(sound.code, Some(0), "{sound:?}");
        }
    }
}

#[test]
fn gc_says_that_a_broken_chain_keeps_what_it_may_name() {
    let (lost, other) = (chunk("lost"), chunk("other"));
    let (server, mut device) = committed(&lost);
    lose(&server, &lost, "removed");
    for chunk in [&lost, &other] {
        device.put_chunk(chunk).expect(201);
    }
    let one = transaction_id("one");
    let place = server
        .folder("ada")
        .join(format!("transactions/{}/{one}.json", &one[..2]));
    fs::remove_file(&place).unwrap();
    let ended = run(&server, "gc", &["--grace", "0s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("what the chain or the checkpoint may name stays"),
        "{ended:?}"
    );
    for chunk in [&lost, &other] {
        assert_eq!(get(&mut device, chunk), chunk.bytes);
    }
}

/// How a chunk is uploaded again.
fn upload(device: &mut Device, chunk: &Chunk, bundle: Option<&[u8]>) {
    match bundle {
        None => drop(device.put_chunk(chunk).expect(201)),
        Some(bundle) => {
            let path = device.path("bundle");
            let pushed = device.client.request("POST", &path, &[], Some(bundle));
            assert!([200, 409].contains(&pushed.status), "{pushed:?}");
        }
    }
}

/// Wrong lengths: nothing, cut, grown.
fn damages(chunk: &Chunk) -> [Vec<u8>; 3] {
    let mut grown = chunk.bytes.clone();
    grown.push(b'!');
    [Vec::new(), chunk.bytes[..3].to_vec(), grown]
}

#[test]
fn a_file_of_the_wrong_length_is_replaced_by_the_bytes_that_come_for_it() {
    // One goes with a group of small ones, one by itself.
    for chunk in [chunk("a small one"), chunk(vec![7; 300_000])] {
        for area in ["", "incoming/"] {
            for bundled in [false, true] {
                let (server, mut device) = match area {
                    "" => committed(&chunk),
                    _ => {
                        let (server, mut device) = committed(&crate::kit::chunk("other"));
                        device.put_chunk(&chunk).expect(201);
                        (server, device)
                    }
                };
                // From another server, where it is committed.
                let bundle = committed(&chunk).1.get("bundle").expect(200).body;
                let bundle = bundled.then_some(&bundle[..]);
                for damage in damages(&chunk) {
                    let place = file(&server, area, &chunk);
                    fs::write(&place, &damage).unwrap();
                    upload(&mut device, &chunk, bundle);
                    let what = format!("{area:?}, {bundled}, {} bytes", damage.len());
                    assert_eq!(get(&mut device, &chunk), chunk.bytes, "{what}");
                    assert_eq!(fs::read(&place).unwrap(), chunk.bytes, "{what}");
                    let aside = fs::read_dir(server.folder("ada").join("lost+found/chunks"));
                    let mut aside = aside.unwrap().map(|entry| entry.unwrap().path());
                    assert!(
                        aside.any(|aside| fs::read(aside).unwrap() == damage),
                        "{what}"
                    );
                }
                let sound = run(&server, "fsck", &[]);
                assert_eq!(sound.code, Some(0), "{sound:?}");
                assert!(
                    server
                        .folder("ada")
                        .join("incoming/tmp")
                        .read_dir()
                        .unwrap()
                        .next()
                        .is_none()
                );
            }
        }
    }
}

#[test]
fn a_bundle_that_continues_head_replaces_a_file_of_the_wrong_length_too() {
    let chunk = chunk("carried along");
    let bundle = committed(&chunk).1.get("bundle").expect(200).body;
    for damage in damages(&chunk) {
        let server = Server::start();
        let mut device = server.device("ada");
        device.put_chunk(&crate::kit::chunk("other")).expect(201);
        // As a crash of an advance leaves it: committed, and reached by nothing.
        let place = file(&server, "", &chunk);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, &damage).unwrap();
        upload(&mut device, &chunk, Some(&bundle));
        assert_eq!(device.head().1, 2);
        assert_eq!(get(&mut device, &chunk), chunk.bytes);
        assert_eq!(run(&server, "fsck", &[]).code, Some(0));
    }
}

#[test]
fn a_file_of_the_right_length_is_left_alone() {
    let chunk = chunk("right");
    let (server, mut device) = committed(&chunk);
    let place = file(&server, "", &chunk);
    // PUT looks at the length, and reads nothing: this is for fsck to find.
    fs::write(&place, "wrong").unwrap();
    device.put_chunk(&chunk).expect(201);
    assert_eq!(fs::read(&place).unwrap(), b"wrong");
    assert!(!server.folder("ada").join("lost+found/chunks").exists());
}

#[test]
fn a_quota_does_not_keep_damage_from_being_mended() {
    let lost = chunk("within bounds");
    let (server, _) = committed(&lost);
    let data = server.keeper();
    drop(server);
    let server = Server::on(data, &["--max-user-bytes", "1"]);
    let mut device = server.device("ada");
    // Everything is admitted until it is known what there is.
    let is_refused = (0..500).any(|n| {
        std::thread::sleep(Duration::from_millis(20));
        device.put_chunk(&chunk(format!("more {n}"))).status == 507
    });
    assert!(is_refused);
    fs::write(file(&server, "", &lost), "").unwrap();
    device.put_chunk(&lost).expect(201);
    assert_eq!(get(&mut device, &lost), lost.bytes);
}
