//! Whose files are. Root's tools stand beside a service's here, so that these tests take root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::kit::{
    Chunk, Finished, ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree,
};

/// The service's user and group; nobody else's, on most boxes.
const SERVICE: u32 = 47_113;

/// A directory of the service's, and the binary where the service can run it.
struct Installed {
    top: Arc<TempDir>,
}

impl Installed {
    /// `None` where we are not root.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("files of others", "not root here");
            return None;
        }
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(binary().get_program(), top.path().join("mentat-sync")).unwrap();
        let data = top.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
        let top = Arc::new(top);
        Some(Self { top })
    }

    /// The program, as the service runs it.
    fn service(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                &SERVICE.to_string(),
                "--regid",
                &SERVICE.to_string(),
            ])
            .arg("--clear-groups")
            .arg(self.top.path().join("mentat-sync"));
        command
    }

    fn serve(&self) -> Server {
        Server::launch(self.service(), Arc::clone(&self.top), &["--uuid-chunk-ids"])
    }

    /// What somebody's tool says of the data directory.
    #[track_caller]
    fn run(&self, mut command: Command, arguments: &[&str], code: i32) -> Finished {
        let data = self.top.path().join("data");
        let ended = run_with_deadline(command.args(arguments).arg("--data").arg(data));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended
    }

    /// What does not belong to the service.
    fn foreign(&self) -> Vec<String> {
        let data = self.top.path().join("data");
        let names = tree(&data).into_keys();
        let theirs = |name: &String| {
            let meta = fs::symlink_metadata(data.join(name)).unwrap();
            (meta.uid(), meta.gid()) != (SERVICE, SERVICE)
        };
        names.filter(theirs).collect()
    }
}

fn committed(server: &Server, chunk: &Chunk) -> std::path::PathBuf {
    let place = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
    server.folder("ada").join(place)
}

fn for_root_alone(path: &Path) {
    chown(path, Some(0), Some(0)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_root_repairs_the_service_goes_on_with() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let (chunk, one) = (chunk("precious"), transaction_id("one"));
    device.commit(&one, ROOT, &[&chunk]);
    fs::write(committed(&server, &chunk), "something else").unwrap();
    // The log is made anew, the chunk taken out of the way, its directories made: all by root.
    fs::write(server.folder("ada").join("log"), "").unwrap();
    place.run(binary(), &["fsck", "--repair"], 1);
    assert_eq!(place.foreign(), [""; 0]);
    place.run(binary(), &["gc", "--grace", "0s"], 0);
    place.run(binary(), &["users", "add"], 0);
    assert_eq!(place.foreign(), [""; 0]);

    device.put_chunk(&chunk).expect(201);
    assert_eq!(fs::read(committed(&server, &chunk)).unwrap(), chunk.bytes);
    place.run(place.service(), &["gc", "--grace", "0s"], 0);
    let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
    assert!(got.body == chunk.bytes);
    assert_eq!(device.chain_after(ROOT), [one]);
    place.run(place.service(), &["fsck", "--repair"], 0);
}

#[test]
fn nothing_is_taken_in_where_it_cannot_be_seen_what_was_lost() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let (lost, one) = (chunk("precious"), transaction_id("one"));
    device.commit(&one, ROOT, &[&lost]);
    let bundle = device.get("bundle").expect(200).body;
    device.put_chunk(&chunk("old")).expect(201);
    fs::remove_file(committed(&server, &lost)).unwrap();
    place.run(place.service(), &["fsck", "--repair"], 1);
    let marks = server.folder("ada").join("lost+found");
    for dark in [marks.clone(), marks.join("chunks")] {
        for_root_alone(&dark);
        let large = chunk("large ".repeat(100_000));
        let alias = transaction_id("an alias");
        device.put_chunk(&lost).expect_refusal(500, "internal");
        device.put_chunk(&large).expect_refusal(500, "internal");
        let aliased = device.put(&format!("chunks/{alias}"), &lost.bytes);
        aliased.expect_refusal(500, "internal");
        let path = device.path("bundle");
        let pushed = (device.client).request("POST", &path, &[], Some(&bundle));
        pushed.expect_refusal(500, "internal");
        let incoming = tree(&server.folder("ada").join("incoming"));
        let files = incoming.values().filter(|look| look.kind == 'f');
        assert_eq!(files.count(), 1, "{incoming:?}");
        let gc = place.run(place.service(), &["gc", "--grace", "0s"], 1);
        assert!(gc.stderr.contains("lost+found"), "{gc:?}");

        // fsck says why, and root's gives it back.
        let ended = place.run(place.service(), &["fsck"], 1);
        assert!(
            ended.stdout.contains("damage: foreign-owner: "),
            "{ended:?}"
        );
        assert!(ended.stdout.contains("unchecked: "), "{ended:?}");
        let ended = place.run(binary(), &["fsck", "--repair"], 1);
        assert!(ended.stdout.contains("mended: "), "{ended:?}");
        assert_eq!(place.foreign(), [""; 0]);
    }
    device.put_chunk(&lost).expect(201);
    assert_eq!(fs::read(committed(&server, &lost)).unwrap(), lost.bytes);
}

#[test]
fn fsck_says_what_the_owner_cannot_use_and_mends_it() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let (chunk, one) = (chunk("precious"), transaction_id("one"));
    device.commit(&one, ROOT, &[&chunk]);
    let folder = server.folder("ada");
    place.run(binary(), &["fsck"], 0);
    for name in ["", "HEAD", "log", "lock", "incoming/tmp", "chunks"] {
        let theirs = folder.join(name);
        chown(&theirs, Some(0), Some(0)).unwrap();
        let ended = place.run(binary(), &["fsck"], 1);
        assert!(
            ended.stdout.contains("damage: foreign-owner: "),
            "{name}: {ended:?}"
        );
        place.run(binary(), &["fsck", "--repair"], 1);
        place.run(binary(), &["fsck"], 0);
        assert_eq!(place.foreign(), [""; 0], "{name}");
    }
    for name in ["FORMAT", "users", "tmp", "trash"] {
        let theirs = server.data().join(name);
        chown(&theirs, Some(0), Some(0)).unwrap();
        let ended = place.run(binary(), &["fsck"], 1);
        let says = format!("damage: foreign-owner: {name}: ");
        assert!(ended.stdout.contains(&says), "{ended:?}");
        place.run(binary(), &["fsck", "--repair"], 1);
        place.run(binary(), &["fsck"], 0);
    }
    // What others may use as well, the server can: the group's file, with the group's rights.
    let log = folder.join("log");
    chown(&log, Some(0), Some(SERVICE)).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o660)).unwrap();
    let ended = place.run(binary(), &["fsck"], 0);
    assert!(!ended.stdout.contains("foreign-owner"), "{ended:?}");
}

/// It can be read, so that no reader minds; an advance makes another one.
#[test]
fn a_log_that_is_not_for_us_to_write_is_made_anew_by_an_advance() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let ids = ["one", "two", "three", "four"].map(transaction_id);
    device.commit(&ids[0], ROOT, &[]);
    let log = server.folder("ada").join("log");
    let set = |owner, mode| {
        chown(&log, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (at, (owner, mode)) in [(SERVICE, 0o400), (0, 0o644), (0, 0o600)]
        .into_iter()
        .enumerate()
    {
        set(owner, mode);
        assert_eq!(device.chain_after(ROOT), ids[..=at]);
        device.commit(&ids[at + 1], &ids[at], &[]);
        assert_eq!(device.chain_after(ROOT), ids[..=at + 1]);
        assert_eq!(place.foreign(), [""; 0]);
    }
}

#[test]
fn what_fsck_may_not_look_at_is_not_sound() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    device.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    let (users, folder) = (server.data().join("users"), server.folder("ada"));
    for (dark, mode, code) in [
        (&users, 0o400, 3),
        (&users, 0o000, 3),
        (&folder.join("incoming/transactions"), 0o000, 1),
        (&folder.join("chunks"), 0o600, 1),
    ] {
        fs::set_permissions(dark, fs::Permissions::from_mode(mode)).unwrap();
        place.run(place.service(), &["fsck"], code);
        fs::set_permissions(dark, fs::Permissions::from_mode(0o700)).unwrap();
        place.run(place.service(), &["fsck"], 0);
    }
}

#[test]
fn the_child_of_what_fsck_may_not_read_is_no_orphan() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let [one, two, three] = ["one", "two", "three"].map(transaction_id);
    device.commit(&one, ROOT, &[]);
    device.put_transaction(&two, &one, &[]).expect(201);
    device.put_transaction(&three, &two, &[]).expect(201);
    let pending = server.folder("ada").join("incoming/transactions");
    let dark = pending.join(format!("{two}.json"));
    fs::set_permissions(&dark, fs::Permissions::from_mode(0o000)).unwrap();
    let ended = place.run(place.service(), &["fsck"], 3);
    assert!(ended.stdout.contains("unchecked: unchecked: "), "{ended:?}");
    assert!(!ended.stdout.contains("orphan"), "{ended:?}");
    fs::remove_file(&dark).unwrap();
    let ended = place.run(place.service(), &["fsck"], 0);
    assert!(ended.stdout.contains("harmless: orphan: "), "{ended:?}");
}

#[test]
fn serve_says_who_owns_what_it_cannot_use() {
    let Some(place) = Installed::new() else {
        return;
    };
    drop(place.serve());
    let data = place.top.path().join("data");
    for name in ["users", "trash", "tmp", "FORMAT"] {
        chown(data.join(name), Some(0), Some(0)).unwrap();
        let listen = ["serve", "--listen", "127.0.0.1:0"];
        let ended = place.run(place.service(), &listen, 1);
        let (theirs, runs) = (
            format!(
                "{} belongs to root (uid 0), mode ",
                data.join(name).display()
            ),
            format!("this process runs as uid {SERVICE}"),
        );
        for words in [theirs.as_str(), runs.as_str()] {
            assert!(
                ended.stderr.contains(words),
                "no {words:?} in {}",
                ended.stderr
            );
        }
        chown(data.join(name), Some(SERVICE), Some(SERVICE)).unwrap();
        drop(place.serve());
    }
    assert_eq!(tree(&data.join("tmp")).len(), 0, "a probe leaves nothing");
}
