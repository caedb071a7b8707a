//! File systems that are not like the others: through FUSE, where `syncfs` does nothing and no rename spares what
//! has the name (bindfs is one); networks; and mounts where a store should be one whole.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::away::every_answer_says_damaged;
use crate::faults::strace::{self, Tracer};
use crate::full_disk::in_own_namespace;
use crate::kit::{
    ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree, user_id,
};

/// A directory that bindfs shows of another one. Unmounted in the end.
struct Bind {
    top: Arc<TempDir>,
    under: Arc<TempDir>,
    bindfs: Child,
}

impl Bind {
    fn mount() -> Option<Self> {
        let [under, top] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self::mount_at(Arc::new(under), Arc::new(top))
    }

    fn mount_at(under: Arc<TempDir>, top: Arc<TempDir>) -> Option<Self> {
        let spawned = Command::new("bindfs")
            .arg("-f")
            .args([under.path(), top.path()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut bindfs) = spawned else {
            skipped("a file system by FUSE", "there is no bindfs here");
            return None;
        };
        let is_mounted = || {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
            mounts.contains(top.path().to_str().unwrap())
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_mounted() {
            if bindfs.try_wait().unwrap().is_some() || Instant::now() > deadline {
                bindfs.kill().ok();
                bindfs.wait().unwrap();
                skipped("a file system by FUSE", "bindfs cannot mount here");
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { top, under, bindfs })
    }
}

impl Bind {
    fn unmount(&self) {
        for unmount in [&["fusermount3", "-u", "-z"] as &[_], &["umount", "-l"]] {
            let mut command = Command::new(unmount[0]);
            let ended = command.args(&unmount[1..]).arg(self.top.path()).output();
            if ended.is_ok_and(|output| output.status.success()) {
                break;
            }
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.unmount();
        self.bindfs.kill().ok();
        self.bindfs.wait().ok();
    }
}

#[track_caller]
fn tool(data: &Path, arguments: &[&str]) -> String {
    let mut command = binary();
    let ended = run_with_deadline(command.args(arguments).arg("--data").arg(data));
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.stdout
}

/// Everything that renames, links, locks and syncs: users are made, devices push, HEAD moves, users get another
/// id and go, garbage is collected, and all is found sound.
fn session(server: &Server) {
    let mut device = server.device("ada");
    let [one, two, three] = ["one", "two", "three"].map(transaction_id);
    let [a, b, c] = ["a", "b", "c"].map(chunk);
    device.commit(&one, ROOT, &[&a]);
    device.put_chunk(&a).expect(201);
    device.put_chunk(&b).expect(201);
    device
        .put_transaction(&two, &one, &[&a.id, &b.id])
        .expect(201);
    // Another content of that id is not let in, though a rename would have replaced it.
    let other = device.put_transaction(&two, &one, &[]);
    other.expect_refusal(409, "transaction-exists");
    device.put_head(&two).expect(204);
    device.put_chunk(&c).expect(201);
    let alias = transaction_id("an alias");
    device.put(&format!("chunks/{alias}"), &c.bytes).expect(201);
    let taken = device.put(&format!("chunks/{alias}"), &a.bytes);
    taken.expect_refusal(409, "chunk-exists");
    device.put_transaction(&three, &two, &[&alias]).expect(201);

    // A bundle goes in the straight way, by directories, and the long way beside what is there.
    let bundle = device.get("bundle").expect(200).body;
    for name in ["bob", "bob", "eve"] {
        let mut other = server.device(name);
        if name == "eve" {
            other.put_chunk(&b).expect(201);
        }
        let path = other.path("bundle");
        let pushed = (other.client).request("POST", &path, &[], Some(&bundle));
        match other.head() {
            (head, 2) => assert_eq!(head, two),
            other => panic!("{other:?} after {}", pushed.text()),
        }
        assert!(other.get("bundle").expect(200).body == bundle);
    }

    // From several threads, the same chunk and the same new user.
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let mut device = server.device("many");
                device.put_chunk(&chunk("the same")).expect(201);
                device.put_chunk(&chunk(format!("of {number}"))).expect(201);
            });
        }
    });
    let mut many = server.device("many");
    let all: Vec<String> = (0..8)
        .map(|number| chunk(format!("of {number}")).id)
        .collect();
    let asked = serde_json::to_vec(&all).unwrap();
    let path = many.path("chunks/missing");
    let missing = (many.client).request(
        "POST",
        &path,
        &[("content-type", "application/json")],
        Some(&asked),
    );
    assert_eq!(missing.expect(200).json()["missing"], serde_json::json!([]));

    // The operator, beside it.
    let data = server.data();
    let moved = user_id("bob elsewhere");
    tool(&data, &["users", "mv", &user_id("bob"), &moved]);
    assert_eq!(server.device("bob elsewhere").head(), (two.clone(), 2));
    let mut taken = binary();
    taken
        .args(["users", "mv", &moved, &user_id("eve"), "--data"])
        .arg(&data);
    assert_eq!(run_with_deadline(&mut taken).code, Some(1));
    let mut many = server.device("many");
    let path = many.path("");
    many.client.request("DELETE", &path, &[], None).expect(204);
    many.put_chunk(&chunk("anew")).expect(201);
    tool(&data, &["gc", "--grace", "0s"]);
    let copy = server.keeper().path().join("copy");
    tool(&data, &["snapshot", copy.to_str().unwrap()]);
    for data in [&data, &copy] {
        let said = tool(data, &["fsck", "--repair"]);
        assert!(said.contains(": sound"), "{said}");
        let said = tool(data, &["fsck"]);
        assert!(!said.contains("harmless"), "{said}");
    }
    assert_eq!(device.chain_after(ROOT), [one, two]);
    let left = tree(&data.join("tmp"));
    assert_eq!(left.len(), 0, "{left:?}");
}

const FLAGS: &[&str] = &["--uuid-chunk-ids", "--allow-delete"];

#[test]
fn a_store_works_on_a_file_system_by_fuse() {
    let Some(bind) = Bind::mount() else { return };
    let server = Server::on(Arc::clone(&bind.top), FLAGS);
    server.has_said(|line| line.contains("by FUSE"));
    session(&server);
    let server = server.crash();
    assert_eq!(server.device("ada").head().1, 2);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn on_fuse_every_file_and_every_name_is_synced_by_itself() {
    let Some(bind) = Bind::mount() else { return };
    if !strace::works() {
        skipped("which syncs are made", "strace cannot trace here");
        return;
    }
    let server = Server::on(Arc::clone(&bind.top), FLAGS);
    let mut device = server.device("ada");
    device.put_chunk(&chunk("the first")).expect(201);
    let log = bind.top.path().join("syncs.log");
    let trace = ["-f", "-e", "trace=fsync,syncfs"].map(str::to_owned);
    let tracer = Tracer::attach_to(&[server.pid().to_string()], &log, &trace);
    let chunks: Vec<_> = (0..32)
        .map(|number| chunk(format!("chunk {number}")))
        .collect();
    std::thread::scope(|scope| {
        for chunk in &chunks {
            let mut device = server.device("ada");
            scope.spawn(move || device.put_chunk(chunk).expect(201));
        }
    });
    let one = transaction_id("one");
    let named: Vec<&str> = chunks.iter().map(|chunk| chunk.id.as_str()).collect();
    device.put_transaction(&one, ROOT, &named).expect(201);
    device.put_head(&one).expect(204);
    let bundle = device.get("bundle").expect(200).body;
    let mut other = server.device("bob");
    other.put_chunk(&chunks[0]).expect(201);
    let before = std::fs::read_to_string(&log).unwrap().lines().count();
    let path = other.path("bundle");
    let pushed = (other.client).request("POST", &path, &[], Some(&bundle));
    pushed.expect(200);
    let lines = tracer.detach();
    let synced = |lines: &[String], what: &dyn Fn(&str) -> bool| {
        let made = |line: &&String| line.contains(" fsync(") && what(line);
        lines.iter().filter(made).count()
    };
    assert!(
        !lines.iter().any(|line| line.contains(" syncfs(")),
        "{lines:#?}"
    );
    // The bytes of each, while they have no name, and then each of the names.
    let temporary = |line: &str| line.contains("/incoming/tmp/");
    assert!(synced(&lines[..before], &temporary) >= 32, "{lines:#?}");
    for chunk in &chunks {
        let directory = format!("/incoming/chunks/{}>", &chunk.id[..2]);
        assert!(synced(&lines[..before], &|line| line.contains(&directory)) >= 1);
    }
    // Those of the bundle as well: 31 chunks that were not there, and the transaction.
    assert!(synced(&lines[before..], &temporary) >= 32, "{lines:#?}");
}

#[test]
fn where_the_program_behind_fuse_has_died_all_is_damaged_until_a_restart() {
    let Some(mut bind) = Bind::mount() else {
        return;
    };
    let server = Server::on(Arc::clone(&bind.top), &["--allow-delete"]);
    let one = transaction_id("one");
    server.device("ada").commit(&one, ROOT, &[&chunk("milk")]);
    assert_eq!(server.device("bob").head(), (ROOT.to_owned(), 0));
    bind.bindfs.kill().unwrap();
    bind.bindfs.wait().unwrap();
    every_answer_says_damaged(&server, "dead");
    server.has_said(|line| line.contains("ERROR") && line.contains("has ended"));
    bind.unmount();
    every_answer_says_damaged(&server, "unmounted");
    let anew = Bind::mount_at(Arc::clone(&bind.under), Arc::clone(&bind.top)).unwrap();
    every_answer_says_damaged(&server, "mounted anew");
    let server = server.restart();
    assert_eq!(server.device("ada").head(), (one, 1));
    drop(server);
    drop(anew);
}

/// A server for which this is done to its system calls, from the first.
fn traced(inject: &str, data: Arc<TempDir>) -> Option<Server> {
    traced_command(inject).map(|command| Server::launch(command, data, FLAGS))
}

fn traced_command(inject: &str) -> Option<Command> {
    if !strace::works() {
        skipped("calls that fail", "strace cannot trace here");
        return None;
    }
    let mut command = Command::new("strace");
    let call = inject.split(':').next().unwrap();
    // The tracer is a grandchild: what is started, and stopped, is the server itself.
    command
        .args([
            "-D",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
        ])
        .args(["-e", &format!("inject={inject}")])
        .arg(binary().get_program());
    Some(command)
}

#[test]
fn a_store_works_where_no_rename_spares_what_has_the_name() {
    for error in ["EINVAL", "ENOSYS"] {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let inject = format!("renameat2:error={error}");
        let Some(server) = traced(&inject, data) else {
            return;
        };
        session(&server);
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn a_network_file_system_is_refused_unless_one_server_alone_uses_it() {
    // What statfs(2) says of NFS and of CIFS, as this machine writes numbers.
    for (magic, name) in [
        (0x6969_u64, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0x00c3_6400, "Ceph"),
    ] {
        let bytes: String = magic
            .to_ne_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let inject = format!("fstatfs:poke_exit=@arg2={bytes}");
        let top = Arc::new(tempfile::tempdir().unwrap());
        let data = top.path().join("data");
        let Some(mut command) = traced_command(&inject) else {
            return;
        };
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data);
        let ended = run_with_deadline(&mut command);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for words in [
            name,
            "network file system",
            "--network-file-system",
            data.to_str().unwrap(),
        ] {
            assert!(ended.stderr.contains(words), "no {words:?} in {ended:?}");
        }
        assert!(!data.exists(), "nothing is made there");
        let command = traced_command(&inject).unwrap();
        let server = Server::launch(command, Arc::clone(&top), &["--network-file-system"]);
        server.device("ada").put_chunk(&chunk("taken")).expect(201);
        drop(server);
        let mut command = traced_command(&inject).unwrap();
        command.env("MENTAT_SYNC_NETWORK_FILE_SYSTEM", "1");
        let server = Server::launch(command, top, &[]);
        server.device("ada").put_chunk(&chunk("taken")).expect(201);
    }
}

#[test]
fn a_mount_inside_the_store_is_told_of_at_start() {
    for name in ["users", "tmp", "trash"] {
        let top = Arc::new(tempfile::tempdir().unwrap());
        drop(Server::on(Arc::clone(&top), &[]));
        let data = top.path().join("data");
        let inner = data.join(name);
        let [tmpfs, bind] = ["-t tmpfs none", &format!("--bind '{}'", inner.display())]
            .map(|what| format!("mount {what} '{}'", inner.display()));
        for script in [tmpfs, bind] {
            let Some(mut command) = in_own_namespace(&script) else {
                return;
            };
            command
                .args(["serve", "--listen", "127.0.0.1:0", "--data"])
                .arg(&data);
            let ended = run_with_deadline(&mut command);
            assert_eq!(ended.code, Some(1), "{script}: {ended:?}");
            for words in [inner.to_str().unwrap(), "file system", "mounted"] {
                assert!(ended.stderr.contains(words), "no {words:?} in {ended:?}");
            }
        }
        assert_eq!(tree(&data.join("tmp")).len(), 0);
    }
}
