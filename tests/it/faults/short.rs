//! Writes and reads that do less than they were asked to, as a system may at any time: every one on a file of
//! more than one byte does half, through a small library that stands between the server and the system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::scene::{Act, Scene};
use crate::kit::{ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id};

/// The library. It says that it was there by a file of the name that is in `SHORT_MARK`.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t less(int fd, size_t length) {
    struct stat about;
    if (length < 2 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return length;
    const char *mark = getenv("SHORT_MARK");
    if (mark) close(open(mark, O_CREAT | O_WRONLY, 0600));
    return length / 2;
}

#define SYSTEM(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length) {
    return SYSTEM(write)(fd, bytes, less(fd, length));
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return SYSTEM(pwrite64)(fd, bytes, less(fd, length), at);
}
ssize_t read(int fd, void *bytes, size_t length) {
    return SYSTEM(read)(fd, bytes, less(fd, length));
}
ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    return SYSTEM(pread64)(fd, bytes, less(fd, length), at);
}
"#;

/// Makes the library, where there is a compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    let (source, made) = (folder.join("short.c"), folder.join("short.so"));
    std::fs::write(&source, LIBRARY).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&made)
        .arg(&source)
        .arg("-ldl")
        .output();
    match compiled {
        Ok(run) if run.status.success() => Some(made),
        other => {
            skipped(
                "short writes",
                format!("no library can be compiled: {other:?}"),
            );
            None
        }
    }
}

#[test]
fn writes_and_reads_that_do_half_are_gone_on_with() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let Some(library) = library(data.path()) else {
        return;
    };
    let mark = data.path().join("mark");
    let mut command = binary();
    command.env("LD_PRELOAD", &library).env("SHORT_MARK", &mark);
    let server = Server::launch(command, Arc::clone(&data), &["--allow-delete"]);
    for (number, act) in Act::ALL.into_iter().enumerate() {
        let scene = Scene::new(&server, act, number);
        let answer = scene.perform(&server).unwrap();
        assert!(scene.is_right(&answer, false), "{act:?}: {answer:?}");
        scene.check(&server, true).unwrap();
    }
    let mut device = server.device("ada");
    let mut parent = ROOT.to_owned();
    for length in [0, 1, 2, 3, 4095, 4097, 70_000, 1_000_001] {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let chunk = chunk(bytes);
        let id = transaction_id(&chunk.id);
        device.commit(&id, &parent, &[&chunk]);
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert!(
            got.body == chunk.bytes,
            "{length} bytes come back otherwise"
        );
        parent = id;
    }
    assert!(mark.exists(), "no write and no read was short");
    // Its bundle goes into another user's folder as it came out.
    let bundle = device.get("bundle").expect(200).body;
    let mut other = server.device("bob");
    let path = other.path("bundle");
    other
        .client
        .request("POST", &path, &[], Some(&bundle))
        .expect(200);
    assert!(other.get("bundle").expect(200).body == bundle);
    // And what is on the disk is right, to one who reads as usual.
    assert_eq!(server.stop().code(), Some(0));
    let fsck = run_with_deadline(
        binary()
            .arg("fsck")
            .arg("--data")
            .arg(data.path().join("data")),
    );
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
}
