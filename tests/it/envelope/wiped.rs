//! Keys do not stay behind in memory that was given back: the tests' allocator looks at what is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use mentat_sync::client::{Context, Identity, Keyring, Master, Masters};
use mentat_sync::disk::{Grouping, Place, Real};

use super::{by_hand, invites};

/// What must not be found, and how often it was.
struct Watched {
    secrets: Vec<Vec<u8>>,
    found: Vec<AtomicUsize>,
}

/// The system's allocator, which looks through what is freed while a test watches.
struct Looking;

static WATCHED: AtomicPtr<Watched> = AtomicPtr::new(std::ptr::null_mut());

#[global_allocator]
static LOOKING: Looking = Looking;

// SAFETY: the system's allocator does all of it. Memory that grows is moved by the trait's own `realloc`, which frees the
// old place here.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: what is watched for is never given back.
        if let Some(watched) = unsafe { WATCHED.load(Ordering::Acquire).as_ref() } {
            let freed = unsafe { std::slice::from_raw_parts(place, layout.size()) };
            for (secret, found) in watched.secrets.iter().zip(&watched.found) {
                let times = freed.windows(secret.len()).filter(|part| part == secret);
                found.fetch_add(times.count(), Ordering::Relaxed);
            }
        }
        unsafe { System.dealloc(place, layout) }
    }
}

/// The spellings of a master's bytes and of its keys', in part.
fn spellings(secret: &[u8; 32], identity: &Identity) -> Vec<Vec<u8>> {
    let keys = by_hand::keys(secret);
    let spelled = Master::from_bytes(secret).spelled();
    let invite = identity.invite();
    let grouped = &invite[invite.len() - 60..invite.len() - 20];
    let symbols = invite[invite.len() - 104..].replace('-', "");
    vec![
        secret[..16].to_vec(),
        secret[16..].to_vec(),
        keys.nonce[..16].to_vec(),
        keys.seal[16..].to_vec(),
        spelled.as_bytes()[..16].to_vec(),
        spelled.as_bytes()[16..32].to_vec(),
        grouped.as_bytes().to_vec(),
        symbols.as_bytes()[32..48].to_vec(),
        symbols.as_bytes()[56..72].to_vec(),
        hex::encode(secret).as_bytes()[..32].to_vec(),
    ]
}

/// How often each secret was freed while this was done.
fn freed(secrets: Vec<Vec<u8>>, act: impl FnOnce()) -> Vec<usize> {
    let found = secrets.iter().map(|_| AtomicUsize::new(0)).collect();
    let watched: &'static Watched = Box::leak(Box::new(Watched { secrets, found }));
    WATCHED.store(std::ptr::from_ref(watched).cast_mut(), Ordering::Release);
    act();
    WATCHED.store(std::ptr::null_mut(), Ordering::Release);
    let found = watched.found.iter();
    found.map(|found| found.load(Ordering::Relaxed)).collect()
}

#[test]
fn no_key_and_no_spelling_of_one_is_left_in_memory_that_is_freed() {
    let secret: [u8; 32] = std::array::from_fn(|at| 0xa7_u8.wrapping_mul(at as u8 + 3) ^ 0x5c);
    let identity = |old| Identity {
        masters: Masters::Sealed {
            current: Master::from_bytes(&secret),
            old,
        },
        ..invites::sealed("https://a.example")
    };
    let secrets = spellings(&secret, &identity(Vec::new()));
    let text = identity(Vec::new()).invite();
    let top = tempfile::tempdir().unwrap();
    let disk = Real::new(top.path(), Grouping::Off).unwrap();
    let place = Place::new("remote");

    let found = freed(secrets.clone(), || {
        let read = Identity::from_invite(&text).unwrap();
        assert!(Identity::from_invite(&text[..text.len() - 1]).is_err());
        assert_eq!(*read.invite(), *text);
        for written in [
            read.clone(),
            read.rekeyed().unwrap(),
            identity(vec![Master::from_bytes(&secret)]),
        ] {
            written.write(&disk, &place).unwrap();
            assert_eq!(Identity::read(&disk, &place).unwrap(), written);
            drop(format!("{written:?}"));
        }
        let ring = read.keyring();
        let chunk = ring.seal(&Context::Data, b"milk").unwrap();
        assert_eq!(ring.clone().open(&Context::Data, &chunk).unwrap(), b"milk");
        assert!(ring.open(&Context::Data, &chunk[..71]).is_err());
        let Keyring::Sealed { current, .. } = &ring else {
            panic!("it is sealed")
        };
        drop(vec![current.clone(), current.clone()]);
        drop(Master::of_spelled(&Master::from_bytes(&secret).spelled()));
    });
    assert!(found.iter().all(|times| *times == 0), "{found:?}");

    // What is not wiped is found.
    let found = freed(secrets, || {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&secret);
        bytes.push(0);
        drop(bytes);
        drop(text.to_string());
        drop(Master::from_bytes(&secret).spelled().to_string());
    });
    assert!([0, 1, 4, 5, 6].iter().all(|at| found[*at] > 0), "{found:?}");
    assert_eq!(found[0], 2);
}
