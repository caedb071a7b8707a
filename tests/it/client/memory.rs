//! The memory that a push, a clone and a look at all entries take does not grow with what there is.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mentat_sync::client::{Identity, LocalRemote, Master, Masters, Replica};
use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::{TransactionId, UserId};
use mentat_sync::store::{Options, Store};

/// The variable that names the directory to a process of its own.
const DIRECTORY: &str = "MENTAT_SYNC_TEST_CLONE";

fn identity() -> Identity {
    Identity {
        server: "https://sync.example.org".parse().unwrap(),
        user: UserId::from_bytes([9; 16]),
        masters: Masters::Sealed {
            current: Master::from_bytes(&[7; 32]),
            old: Vec::new(),
        },
    }
}

fn server(top: &Path) -> Arc<LocalRemote> {
    std::fs::create_dir_all(top.join("server")).unwrap();
    let disk = Arc::new(Real::new(&top.join("server"), Grouping::Auto).unwrap());
    let store = Store::open(disk, Options::default()).unwrap();
    Arc::new(LocalRemote::new(&store, identity().user))
}

/// A device with so many MiB in one file, as many in entries of 256 KiB, and four times as many small entries, all of them pending.
fn filled(top: &Path, mebibytes: u64) {
    let one = Replica::create_with(&top.join("one"), &identity(), server(top)).unwrap();
    let chunks = one.put(std::io::repeat(7).take(mebibytes << 20)).unwrap();
    // The same slices are one chunk: what differs is what takes room.
    let mut differing = Vec::new();
    for number in 0..mebibytes {
        let bytes: Vec<u8> = (0..1_u64 << 17)
            .flat_map(|at| (at * 31 + number).to_le_bytes())
            .collect();
        differing.extend(one.put(bytes.as_slice()).unwrap());
    }
    assert!(chunks.len() as u64 >= mebibytes && differing.len() as u64 >= mebibytes);
    one.commit(b"a file", &differing).unwrap();
    let entry = vec![b'x'; 256 << 10];
    for _ in 0..4 * mebibytes {
        one.commit(&entry, &[]).unwrap();
        one.commit(b"a few words", &[]).unwrap();
    }
}

/// The most memory, in KiB, that a process of its own takes for this part.
fn peak(top: &Path, part: &str) -> u64 {
    let name = &format!("client::memory::{part}_in_a_process_of_its_own");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let command = command.args(["--exact", name, "--ignored", "--nocapture"]);
    let output = command.env(DIRECTORY, top).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let peak = text
        .lines()
        .find_map(|line| line.split_once("peak ")?.1.split(' ').next()?.parse().ok());
    peak.unwrap_or_else(|| panic!("it says {text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
#[ignore = "a part of the test of memory, which runs it in a process of its own"]
fn clones_in_a_process_of_its_own() {
    let Ok(top) = std::env::var(DIRECTORY) else {
        return;
    };
    let top = Path::new(&top);
    let two = Replica::clone_with(&top.join("two"), &identity(), server(top), None).unwrap();
    let (mut entries, mut bytes) = (0, 0);
    for entry in two.entries(TransactionId::ROOT) {
        let entry = entry.unwrap();
        entries += 1;
        bytes += entry.body.len();
        for chunk in &entry.chunks {
            bytes += two.read(chunk).unwrap().len();
        }
    }
    tell_peak(&format!("{entries} entries, {bytes} bytes"));
}

#[test]
#[ignore = "a part of the test of memory, which runs it in a process of its own"]
fn pushes_in_a_process_of_its_own() {
    let Ok(top) = std::env::var(DIRECTORY) else {
        return;
    };
    let top = Path::new(&top);
    let one = Replica::create_with(&top.join("one"), &identity(), server(top)).unwrap();
    let pushed = one.push_as_it_is().unwrap().unwrap();
    tell_peak(&format!("{pushed} pushed"));
}

fn tell_peak(what: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    println!("peak {peak} KiB for {what}");
}

#[test]
fn a_push_and_a_clone_take_no_more_memory_for_more_history_and_larger_files() {
    let [small, large] = [2, 48].map(|mebibytes| {
        let top = tempfile::tempdir().unwrap();
        filled(top.path(), mebibytes);
        ["pushes", "clones"].map(|part| peak(top.path(), part))
    });
    println!("{small:?} KiB for 2 MiB twice, {large:?} KiB for 48 MiB twice");
    for (small, large) in small.into_iter().zip(large) {
        assert!(large < small + (20 << 10), "{small} KiB became {large} KiB");
        assert!(large < 64 << 10, "{large} KiB");
    }
}
