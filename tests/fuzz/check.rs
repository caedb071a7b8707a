//! What must hold of a store to which any bytes are pushed as a bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::{Head, TransactionId, UserId};
use mentat_sync::store::{Options, PushBundle, Store};
use sha2::{Digest, Sha256};

/// A store in memory where there is some: it is not about the disk here.
pub struct Site {
    directory: tempfile::TempDir,
    store: Store,
    users: AtomicU64,
}

impl Site {
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        }
        .expect("a temporary directory");
        let disk = Real::new(directory.path(), Grouping::Auto).expect("a directory");
        let options = Options {
            uuid_chunk_ids: true,
            chunk_bytes: 1 << 20,
            ..Options::default()
        };
        Self {
            store: Store::open(Arc::new(disk), options).expect("an empty store"),
            directory,
            users: AtomicU64::new(0),
        }
    }

    /// Pushes these bytes to a new user: no temporary file is left, every chunk is what its name says,
    /// HEAD moved only if that was the answer, and what is visible is whole.
    pub fn check(&self, bytes: &[u8]) {
        let mut id = [7; 16];
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        id[..8].copy_from_slice(&number.to_le_bytes());
        let user = UserId::from_bytes(id);
        let outcome = self.store.user(user).push_bundle(&mut &bytes[..]);
        let (outcome, leftovers) = outcome.expect("the disk works");
        if let Some(leftovers) = leftovers {
            leftovers.clear();
        }
        let head = self.store.user(user).head().expect("HEAD can be read");
        match outcome {
            PushBundle::Taken { head: told, .. } => assert_eq!(told, head),
            _ => assert_eq!(head, Head::ROOT),
        }
        let users = self.directory.path().join("users");
        let folder = users.join(user.to_string());
        for chunks in ["chunks", "incoming/chunks"] {
            for file in files_below(&folder.join(chunks)) {
                let bytes = std::fs::read(&file).expect("a chunk can be read");
                let digest = hex::encode(Sha256::digest(&bytes));
                assert_eq!(
                    file.file_name().and_then(|name| name.to_str()),
                    Some(&*digest)
                );
            }
        }
        assert_eq!(
            files_below(&folder.join("incoming/tmp")),
            Vec::<PathBuf>::new()
        );
        let mut listing = self
            .store
            .user(user)
            .listing(TransactionId::ROOT, 1_000_000)
            .expect("the chain can be listed")
            .expect("the root is on it");
        let mut listed = 0;
        while listing.left() > 0 {
            for id in listing.read(1000).expect("it is there") {
                listed += 1;
                assert!(
                    self.store
                        .user(user)
                        .transaction(id)
                        .expect("it can be read")
                        .is_some()
                );
            }
        }
        assert_eq!(listed, head.seq);
        let lock = self.store.user(user).exclusive_blocking();
        if let Some(lock) = lock.expect("nobody else has it") {
            lock.delete().expect("the user can go");
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}
