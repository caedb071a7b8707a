//! Whose files are. Root's tools stand beside a service's here, so that these tests take root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::kit::{
    Chunk, Finished, ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree,
};

/// The service's user and group; nobody else's, on most boxes.
const SERVICE: u32 = 47_113;

/// Another one's, who is neither the service nor root.
const THIRD: u32 = 47_114;

/// Copies a program, so that it can be run at once. By a process of its own: a child of another test's would have the
/// copy open to be written to for a moment.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status();
    assert!(copied.unwrap().success());
}

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
        copy(
            Path::new(binary().get_program()),
            &top.path().join("mentat-sync"),
        );
        let data = top.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
        let top = Arc::new(top);
        Some(Self { top })
    }

    /// The program, as the service runs it.
    fn service(&self) -> Command {
        self.service_runs(&self.top.path().join("mentat-sync"))
    }

    /// A program, as the service runs it.
    fn service_runs(&self, program: &Path) -> Command {
        run_as(SERVICE, program)
    }

    /// The program, as somebody runs it who is neither the service nor root.
    fn third(&self) -> Command {
        run_as(THIRD, &self.top.path().join("mentat-sync"))
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
        foreign_in(&self.top.path().join("data"))
    }
}

/// A program that this user of the box runs.
fn run_as(uid: u32, program: &Path) -> Command {
    let uid = uid.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"])
        .arg(program);
    command
}

/// What does not belong to the service in this directory; the directory itself is `""`.
fn foreign_in(data: &Path) -> Vec<String> {
    let mut names: Vec<String> = tree(data).into_keys().collect();
    names.push(String::new());
    let theirs = |name: &String| {
        let meta = fs::symlink_metadata(data.join(name)).unwrap();
        (meta.uid(), meta.gid()) != (SERVICE, SERVICE)
    };
    names.retain(theirs);
    names
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

/// Users of a service, of each of whom the service may not read one of these, and as many others, of whom it may read
/// all: the folders of both.
fn with_shut(place: &Installed, parts: &[&str]) -> [Vec<PathBuf>; 2] {
    let server = place.serve();
    let mut folders = Vec::new();
    for number in 0..2 * parts.len() {
        let name = format!("user {number}");
        let mut device = server.device(&name);
        let id = transaction_id("one");
        device.commit(&id, ROOT, &[&chunk("precious")]);
        let idle = device.put_transaction(&transaction_id("idle"), &id, &[]);
        idle.expect(201);
        folders.push(server.folder(&name));
    }
    assert!(server.stop().success());
    folders.sort_unstable();
    // There is somebody after each.
    let (others, shut): (Vec<_>, Vec<_>) =
        (folders.into_iter().enumerate()).partition(|(at, _)| at % 2 == 1);
    let [others, shut] = [others, shut].map(|some| some.into_iter().map(|(_, folder)| folder));
    let shut: Vec<_> = shut.collect();
    for (folder, part) in shut.iter().zip(parts) {
        fs::set_permissions(folder.join(part), fs::Permissions::from_mode(0o000)).unwrap();
    }
    [shut, others.collect()]
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

fn pending(folder: &Path) -> usize {
    let pending = fs::read_dir(folder.join("incoming/transactions"));
    pending.unwrap().count()
}

#[test]
fn what_may_not_be_looked_at_of_one_user_keeps_nobody_elses_garbage() {
    let Some(place) = Installed::new() else {
        return;
    };
    let [shut, others] = with_shut(&place, &["", "gate", "incoming"]);
    let gc = ["gc", "--grace", "0s"];
    let told = place.run(place.service(), &[&gc[..], &["--dry-run"]].concat(), 1);
    assert_eq!(told.stdout.lines().count(), others.len(), "{told:?}");
    let told = place.run(place.service(), &gc, 1);
    for folder in &shut {
        let line = format!("user {}: cannot", name(folder));
        assert!(told.stderr.contains(&line), "{told:?}");
        assert_eq!(pending(folder), 1, "{told:?}");
    }
    for folder in &others {
        assert_eq!(pending(folder), 0, "{told:?}");
    }
}

#[test]
fn a_folder_that_may_not_be_entered_keeps_a_server_from_nobody_elses_garbage() {
    let Some(place) = Installed::new() else {
        return;
    };
    let [shut, others] = with_shut(&place, &[""]);
    let flags = ["--gc-every", "100ms", "--grace", "0s"];
    let server = Server::launch(place.service(), Arc::clone(&place.top), &flags);
    let line = format!("gc: {} stays as it is", &name(&shut[0])[..8]);
    server.has_said(|said| said.contains(&line));
    let deadline = Instant::now() + Duration::from_secs(20);
    while pending(&others[0]) > 0 {
        assert!(Instant::now() < deadline, "{:?}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn trash_that_may_not_be_looked_at_is_told_and_keeps_nothing_else() {
    let Some(place) = Installed::new() else {
        return;
    };
    let data = place.top.path().join("data");
    drop(place.serve());
    let left = data.join("tmp/left");
    fs::create_dir(&left).unwrap();
    chown(&left, Some(SERVICE), Some(SERVICE)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600);
    let opened = fs::File::open(&left).unwrap();
    opened.set_modified(long_ago).unwrap();
    fs::set_permissions(data.join("trash"), fs::Permissions::from_mode(0o000)).unwrap();
    let told = place.run(place.service(), &["gc"], 1);
    assert!(told.stderr.contains("cannot list"), "{told:?}");
    assert!(!left.exists(), "{told:?}");
}

#[test]
fn what_may_not_be_read_of_one_user_keeps_nobody_else_out_of_a_copy() {
    let Some(place) = Installed::new() else {
        return;
    };
    // `log` is derived: a copy can do without.
    let parts = ["", "HEAD", "transactions", "chunks", "log"];
    let [shut, others] = with_shut(&place, &parts);
    let copies = place.top.path().join("copies");
    fs::create_dir(&copies).unwrap();
    chown(&copies, Some(SERVICE), Some(SERVICE)).unwrap();
    let has = |copy: &Path, told: &Finished, words: &str| {
        assert_eq!(told.code, Some(1), "{told:?}");
        let is_in = |folder: &Path| copy.join("users").join(name(folder)).join("HEAD").exists();
        for folder in &others {
            assert!(is_in(folder), "{told:?}");
        }
        for (folder, part) in shut.iter().zip(parts) {
            let line = format!("user {} is not{words}", name(folder));
            assert_eq!(is_in(folder), part == "log", "{part}: {told:?}");
            let is_named = told.stderr.contains(&line);
            assert_eq!(is_named, part != "log", "{part}: {told:?}");
        }
        let checked = run_with_deadline(binary().args(["fsck", "--data"]).arg(copy));
        assert_eq!(checked.code, Some(0), "{checked:?}");
    };
    let copy = copies.join("snapshot");
    let told = place.run(place.service(), &["snapshot", copy.to_str().unwrap()], 1);
    let data = place.top.path().join("data/users");
    has(&copy, &told, " in the snapshot: ");
    for (folder, part) in shut.iter().zip(&parts[..4]) {
        let at = data.join(name(folder)).join(part);
        let at = at.to_str().unwrap().trim_end_matches('/');
        assert!(told.stderr.contains(&format!(": {at}")), "{at}: {told:?}");
    }

    let copy = copies.join("backup");
    let told = place.run(place.service(), &["backup", copy.to_str().unwrap()], 1);
    has(
        &copy,
        &told,
        " in the copy, or as the last good one had it: ",
    );
}

#[test]
fn what_root_copies_belongs_to_the_owner_of_the_data_directory() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let ids = ["one", "two", "three"].map(transaction_id);
    let copy = place.top.path().join("copy");
    let of_others = || {
        let theirs = |name: &String| {
            let meta = fs::symlink_metadata(copy.join(name)).unwrap();
            (meta.uid(), meta.gid()) != (SERVICE, SERVICE)
        };
        tree(&copy).into_keys().filter(theirs).collect::<Vec<_>>()
    };
    // A user who is new, one who has gone on, and one who is another than before.
    let mut parent = ROOT.to_owned();
    for id in &ids[..2] {
        device.commit(id, &parent, &[&chunk(id.as_str())]);
        parent.clone_from(id);
        place.run(binary(), &["backup", copy.to_str().unwrap()], 0);
        assert_eq!(of_others(), [""; 0]);
        assert_eq!(place.foreign(), [""; 0]);
        let meta = fs::metadata(&copy).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (SERVICE, SERVICE));
    }
    fs::remove_dir_all(server.folder("ada")).unwrap();
    device.commit(&ids[2], ROOT, &[&chunk("another life")]);
    let told = place.run(binary(), &["backup", copy.to_str().unwrap()], 0);
    assert!(told.stderr.contains("is another than before"), "{told:?}");
    assert_eq!(of_others(), [""; 0]);
    // The service goes on with the copy, and with its own.
    place.run(place.service(), &["backup", copy.to_str().unwrap()], 0);
    let checked = run_with_deadline(place.service().args(["fsck", "--data"]).arg(&copy));
    assert_eq!(checked.code, Some(0), "{checked:?}");

    // Somebody else, who may read nothing of it, is told so.
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid", "47114", "--regid", "47114", "--clear-groups"]);
    stranger.arg(place.top.path().join("mentat-sync"));
    let told = place.run(stranger, &["backup", "/tmp/nothing-comes-here"], 3);
    assert!(told.stderr.contains("Permission denied"), "{told:?}");
    assert!(!Path::new("/tmp/nothing-comes-here").exists());
}

#[test]
fn the_first_store_of_a_service_is_made_by_root_and_belongs_to_the_service() {
    let Some(place) = Installed::new() else {
        return;
    };
    let ada = crate::kit::user_id("ada");
    let made = place.run(binary(), &["users", "add", "--init", &ada], 0);
    assert!(made.stderr.contains("made a new store"), "{made:?}");
    assert!(made.stderr.contains(&format!("uid {SERVICE}")), "{made:?}");
    assert_eq!(place.foreign(), [""; 0]);
    let flags = ["--existing", "--new-users", "deny"];
    let server = Server::launch(place.service(), Arc::clone(&place.top), &flags);
    server
        .device("ada")
        .commit(&transaction_id("one"), ROOT, &[&chunk("x")]);
}

#[test]
fn whatever_root_does_beside_a_service_the_service_goes_on_with() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut ada = server.device("ada");
    let [one, two, idle] = ["one", "two", "idle"].map(transaction_id);
    ada.commit(&one, ROOT, &[&chunk("precious")]);
    ada.put_transaction(&idle, &one, &[]).expect(201);
    let [ada_id, bob, eve] = ["ada", "bob", "eve"].map(crate::kit::user_id);
    for (arguments, code) in [
        (&["users", "add", &bob] as &[&str], 0),
        (&["users", "mv", &bob, &eve], 0),
        (&["users", "name", &eve, "phone"], 0),
        (&["users", "add", "--name", "tablet"], 0),
        (&["gc", "--grace", "0s"], 0),
        (&["fsck", "--repair"], 0),
        (&["log", &ada_id], 0),
        (&["users", "rm", &eve], 0),
    ] {
        place.run(binary(), arguments, code);
        assert_eq!(place.foreign(), [""; 0], "{arguments:?}");
    }
    // The log is made anew by whoever misses it: root.
    fs::remove_file(server.folder("ada").join("log")).unwrap();
    place.run(binary(), &["log", &ada_id], 0);
    assert_eq!(place.foreign(), [""; 0]);
    ada.commit(&two, &one, &[&chunk("more")]);
    place.run(place.service(), &["fsck"], 0);
}

#[test]
fn a_snapshot_that_root_takes_belongs_to_the_owner_of_the_store() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    place.run(
        binary(),
        &["users", "name", &crate::kit::user_id("ada"), "phone"],
        0,
    );
    let made = place.top.path().join("copies/of today");
    let empty = place.top.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for copy in [&made, &empty] {
        place.run(binary(), &["snapshot", copy.to_str().unwrap()], 0);
        assert_eq!(foreign_in(copy), [""; 0]);
        // The service can go there, also where root had to make the way.
        let checked = run_with_deadline(place.service().args(["fsck", "--data"]).arg(copy));
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
    // One with other things in it stays whose it is.
    let other = place.top.path().join("other");
    fs::create_dir_all(other.join("things")).unwrap();
    place.run(binary(), &["snapshot", other.to_str().unwrap()], 2);
    assert_eq!(fs::metadata(&other).unwrap().uid(), 0);
}

#[test]
fn a_tool_of_a_third_user_stops_before_it_makes_anything() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    fs::remove_file(server.folder("ada").join("log")).unwrap();
    assert!(server.stop().success());
    let data = place.top.path().join("data");
    // Nothing else is in the way.
    let opened = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(&data)
        .status();
    assert!(opened.unwrap().success());
    fs::set_permissions(place.top.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = place.top.path().join("above/copy");
    let [ada, bob] = ["ada", "bob"].map(crate::kit::user_id);
    let before = tree(place.top.path());
    for arguments in [
        &["users", "add", &bob] as &[&str],
        &["users", "add", "--init", &bob],
        &["snapshot", copy.to_str().unwrap()],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let ended = place.run(place.third(), arguments, 1);
        let words = format!("would not belong to uid {SERVICE}");
        assert!(ended.stderr.contains(&words), "{arguments:?}: {ended:?}");
        assert_eq!(tree(place.top.path()), before, "{arguments:?}");
    }
    let ended = place.run(place.third(), &["fsck", "--repair"], 0);
    assert!(ended.stdout.contains("not mended"), "{ended:?}");
    assert_eq!(tree(place.top.path()), before);
    // To look is always fine.
    place.run(place.third(), &["users"], 0);
    place.run(place.third(), &["log", &ada], 0);
    place.run(place.third(), &["fsck"], 0);
    assert_eq!(tree(place.top.path()), before);
    // Nor is a store begun in somebody else's empty directory.
    let empty = place.top.path().join("empty");
    fs::create_dir(&empty).unwrap();
    chown(&empty, Some(SERVICE), Some(SERVICE)).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o777)).unwrap();
    let ended = run_with_deadline(
        place
            .third()
            .args(["users", "add", "--init", "--data"])
            .arg(&empty),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(tree(&empty).len(), 0);
}

#[test]
fn a_folder_that_root_moved_in_is_told_of_and_never_read_as_empty() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut ada = server.device("ada");
    let one = transaction_id("one");
    ada.commit(&one, ROOT, &[&chunk("precious")]);
    let bob = crate::kit::user_id("bob");
    let outside = place.top.path().join("outside");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&server.folder("ada"), &outside])
        .status();
    assert!(copied.unwrap().success());
    fs::rename(&outside, server.data().join("users").join(&bob)).unwrap();
    let mut device = server.device("bob");
    for path in ["", "head", "transactions", "bundle"] {
        let told = device.get(path).expect_refusal(500, "internal");
        assert!(told.text().contains("may not use"), "{}", told.text());
    }
    device
        .put_chunk(&chunk("x"))
        .expect_refusal(500, "internal");
    server.has_said(|line| line.contains(&bob[..8]) && line.contains("ermission denied"));
    // Of this user alone.
    assert_eq!(ada.head(), (one.clone(), 1));
    heartbeat_says(&server, 500);
    place.run(place.service(), &["fsck"], 1);
    place.run(binary(), &["fsck", "--repair"], 1);
    assert_eq!(place.foreign(), [""; 0]);
    assert_eq!(device.head(), (one, 1));
    heartbeat_says(&server, 200);
}

/// Waits until the heartbeat has this status, which it tells anew once a second.
#[track_caller]
fn heartbeat_says(server: &Server, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut client = crate::kit::Client::new(server.address());
        let told = client.get("/__heartbeat__");
        if told.status == status {
            if status != 200 {
                told.expect_refusal(500, "damaged");
            }
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{}: {}",
            told.status,
            told.text()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_heartbeat_notices_whom_the_server_may_not_read_before_anybody_asks_for_them() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    server
        .device("ada")
        .commit(&transaction_id("one"), ROOT, &[]);
    heartbeat_says(&server, 200);
    // Moved in by root while it serves.
    let bob = crate::kit::user_id("bob");
    let folder = server.data().join("users").join(&bob);
    let outside = place.top.path().join("outside");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&server.folder("ada"), &outside])
        .status();
    assert!(copied.unwrap().success());
    fs::rename(&outside, &folder).unwrap();
    heartbeat_says(&server, 500);
    server.has_said(|line| line.contains(&bob[..8]) && line.contains("fsck"));
    for line in server.said() {
        assert!(!line.contains(&bob), "{line}");
    }
    fs::remove_dir_all(&folder).unwrap();
    heartbeat_says(&server, 200);
    // What was there at the start, and what is met in one user's folder.
    assert!(server.stop().success());
    let chunks = place
        .top
        .path()
        .join("data/users")
        .join(crate::kit::user_id("ada"));
    for_root_alone(&chunks);
    let server = place.serve();
    heartbeat_says(&server, 500);
    chown(&chunks, Some(SERVICE), Some(SERVICE)).unwrap();
    heartbeat_says(&server, 200);
    for_root_alone(&chunks.join("incoming/tmp"));
    let mut ada = server.device("ada");
    ada.put_chunk(&chunk("x")).expect_refusal(500, "internal");
    heartbeat_says(&server, 500);
    chown(chunks.join("incoming/tmp"), Some(SERVICE), Some(SERVICE)).unwrap();
    heartbeat_says(&server, 200);
}

#[test]
fn what_root_freezes_thaws_and_sends_is_the_services_on_both_sides() {
    let Some(place) = Installed::new() else {
        return;
    };
    let server = place.serve();
    let mut device = server.device("ada");
    let one = transaction_id("one");
    device.commit(&one, ROOT, &[&chunk("precious")]);
    let user = crate::kit::user_id("ada");
    // Who is neither of them changes nothing.
    place.run(place.third(), &["users", "freeze", &user], 1);
    device.get("head").expect(200);
    for change in ["freeze", "thaw"] {
        place.run(binary(), &["users", change, &user], 0);
        assert_eq!(place.foreign(), [""; 0], "{change}");
    }
    place.run(place.service(), &["users", "freeze", &user], 0);
    place.run(binary(), &["users", "thaw", &user], 0);

    // To where there is nothing, and back to where no lock is left.
    let there = place.top.path().join("there");
    let to = there.to_str().unwrap();
    place.run(binary(), &["users", "send", &user, to], 0);
    assert_eq!(
        (place.foreign(), foreign_in(&there)),
        (Vec::new(), Vec::new())
    );
    for file in ["lock", "gate"] {
        let _ = fs::remove_file(server.folder("ada").join(file));
    }
    let data = server.data();
    for arguments in [
        vec!["thaw", &user],
        vec!["send", &user, data.to_str().unwrap()],
    ] {
        let mut command = binary();
        command
            .arg("users")
            .args(&arguments)
            .arg("--data")
            .arg(&there);
        let ended = run_with_deadline(&mut command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(
        (place.foreign(), foreign_in(&there)),
        (Vec::new(), Vec::new())
    );
    place.run(place.service(), &["users", "thaw", &user], 0);
    assert_eq!(device.chain_after(ROOT), [one.as_str()]);
    device.commit(&transaction_id("two"), &one, &[&chunk("next")]);
    place.run(place.service(), &["fsck"], 0);
}
