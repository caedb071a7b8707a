//! The file that has all secrets of a replica: who may read it, what is in it, and what a power cut leaves of it.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use mentat_sync::client::{Identity, Masters, RemoteFileError};
use mentat_sync::disk::{Disk, Grouping, Place, Real};
use rustix::io::Errno;
use serde_json::{Value, json};
use simulated_disk::{Fault, Reading, Sim, World};

use super::invites::{plain, sealed};

fn place() -> Place {
    Place::new("remote")
}

struct Folder {
    top: tempfile::TempDir,
    disk: Real,
}

impl Folder {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let disk = Real::new(top.path(), Grouping::Off).unwrap();
        Self { top, disk }
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.top.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn put(&self, contents: &str) {
        let file = self.top.path().join("remote");
        std::fs::write(&file, contents).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn read(&self) -> Result<Identity, RemoteFileError> {
        Identity::read(&self.disk, &place())
    }
}

#[test]
fn the_file_is_read_as_it_was_written_and_is_its_owners_alone() {
    let folder = Folder::new();
    let rekeyed = sealed("https://a.example/b")
        .rekeyed()
        .unwrap()
        .rekeyed()
        .unwrap();
    for identity in [
        sealed("https://a.example"),
        plain("unix:/run/a\"b\\c"),
        rekeyed,
    ] {
        identity.write(&folder.disk, &place()).unwrap();
        assert_eq!(folder.read().unwrap(), identity);
        assert_eq!(folder.names(), ["remote"]);
        let meta = std::fs::metadata(folder.top.path().join("remote")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    }
    let text = std::fs::read_to_string(folder.top.path().join("remote")).unwrap();
    let fields: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(fields["url"], "https://a.example/b");
    assert_eq!(fields["keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        fields["keys"][1],
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    );
}

#[test]
fn a_file_that_others_may_read_or_write_is_refused_with_words() {
    let folder = Folder::new();
    sealed("https://a.example")
        .write(&folder.disk, &place())
        .unwrap();
    let file = folder.top.path().join("remote");
    for mode in [
        0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660, 0o666,
    ] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let error = folder.read().unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, RemoteFileError::Loose { mode: told, .. } if told == mode));
        assert!(
            words.contains("chmod 600") && words.contains(&format!("{mode:04o}")),
            "{words}"
        );
    }
    for mode in [0o600, 0o400] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        folder.read().unwrap();
    }
    // Nor is one read or written elsewhere.
    let link = folder.top.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(Identity::read(&folder.disk, &Place::new("link")).is_err());
}

#[test]
fn a_file_that_is_not_what_was_written_is_refused_and_none_of_it_is_told() {
    let folder = Folder::new();
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let user = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let good = json!({"url": "https://a.example", "user": user, "key": key, "keys": [key]});
    folder.put(&good.to_string());
    assert!(
        matches!(folder.read().unwrap().masters, Masters::Sealed { old, .. } if old.len() == 1)
    );
    let mut none = good.clone();
    none["key"] = Value::Null;
    none["keys"] = json!([]);
    folder.put(&none.to_string());
    assert_eq!(folder.read().unwrap().masters, Masters::Plain);

    let mut bad: Vec<String> = vec![
        "".into(),
        "{}".into(),
        "[]".into(),
        "\u{0}".into(),
        format!("{good}x"),
    ];
    bad.extend((0..good.to_string().len()).map(|length| good.to_string()[..length].to_owned()));
    let mut longer = good.clone();
    longer["more"] = json!(1);
    bad.push(longer.to_string());
    // A lost key is not the word that there is none.
    for (name, whole) in ["url", "user", "key", "keys"]
        .map(|name| [(name, &good), (name, &none)])
        .concat()
    {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(name);
        bad.push(without.to_string());
    }
    for (name, value) in [
        ("url", json!("a.example")),
        ("url", json!(null)),
        ("user", json!(user.to_uppercase())),
        ("user", json!("")),
        ("key", json!("")),
        ("key", json!(key[1..])),
        ("key", json!(format!("{key}A"))),
        ("key", json!(format!("{key}="))),
        // Bits beyond the last byte.
        ("key", json!(key.replace("Hh8", "Hh9"))),
        ("key", json!(key.replace("AAEC", "AA+C"))),
        ("key", json!(null)),
        ("keys", json!(null)),
        ("keys", json!([null])),
        ("keys", json!([key, "AA"])),
    ] {
        let mut changed = good.clone();
        changed[name] = value;
        bad.push(changed.to_string());
    }
    bad.push("x".repeat(2 << 20));
    for contents in bad {
        folder.put(&contents);
        let error = folder.read().expect_err(&contents);
        let told = format!("{error} {error:?}");
        for secret in [&user[9..], &key[4..]] {
            assert!(!told.contains(secret), "{told}");
        }
        assert!(told.contains("remote"), "{told}");
    }
}

/// The worlds before each step of a second write, in which the first one is durable.
fn worlds(reading: Reading, old: &Identity, new: &Identity) -> Vec<World> {
    let sim = Sim::new(reading);
    let disk = sim.process();
    old.write(&disk, &place()).unwrap();
    let worlds = Arc::new(Mutex::new(Vec::new()));
    let seen = worlds.clone();
    sim.watch(move |_, world| seen.lock().unwrap().push(world.clone()));
    new.write(&disk, &place()).unwrap();
    sim.unwatch();
    let mut worlds = worlds.lock().unwrap().clone();
    worlds.push(sim.world());
    worlds
}

#[test]
fn after_a_power_cut_at_any_step_there_is_the_old_file_or_the_new_one_and_it_can_be_written_again()
{
    let (old, new) = (
        sealed("https://a.example"),
        sealed("https://b.example").rekeyed().unwrap(),
    );
    for reading in [Reading::Atomic, Reading::Posix] {
        let worlds = worlds(reading, &old, &new);
        assert!(worlds.len() > 4, "{} steps", worlds.len());
        let mut seen = [0; 2];
        for (step, world) in worlds.iter().enumerate() {
            for seed in 0..40 {
                let disk = Sim::with_world(world.survivor(seed)).process();
                let read = Identity::read(&disk, &place()).unwrap();
                assert!(read == old || read == new, "step {step}");
                seen[usize::from(read == new)] += 1;
                // Durable when it returned.
                assert!(step + 1 < worlds.len() || read == new);
                new.write(&disk, &place()).unwrap();
                assert_eq!(Identity::read(&disk, &place()).unwrap(), new);
                let mut names = Vec::new();
                disk.list(&Place::new(""), &mut |entry| {
                    names.push(entry.name);
                    true
                })
                .unwrap();
                assert_eq!(names, ["remote"]);
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}

#[test]
fn a_disk_that_refuses_any_step_leaves_the_old_file_or_the_new_one() {
    let (old, new) = (sealed("https://a.example"), sealed("https://b.example"));
    let mut failed = 0;
    for step in 1..20 {
        let sim = Sim::new(Reading::Posix);
        old.write(&sim.process(), &place()).unwrap();
        let disk = sim.process();
        disk.set_fault(Fault::At(step, Errno::IO));
        let written = new.write(&disk, &place());
        failed += usize::from(written.is_err());
        let read = Identity::read(&sim.process(), &place()).unwrap();
        assert!(read == new || read == old && written.is_err());
    }
    assert!(failed > 4, "{failed} failed");
}
