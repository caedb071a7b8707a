use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kit::{Device, ROOT, Server, binary, chunk, skipped, transaction_id};

/// The library that tells a process another time.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").ok()?.find_map(|entry| {
        let path = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
        path.exists().then_some(path)
    });
    if found.is_none() {
        skipped("clocks that jump", "there is no libfaketime here");
    }
    found
}

/// The day that the server believes it is.
fn day(device: &mut Device) -> String {
    let answer = device.get("head").expect(200);
    let date = answer.header("date").expect("every answer is dated");
    date[..16].to_owned()
}

#[test]
fn a_clock_that_jumps_a_day_both_ways_loses_nothing() {
    let Some(library) = library() else {
        return;
    };
    let data = Arc::new(tempfile::tempdir().unwrap());
    let clock = data.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let start = |data: &Arc<tempfile::TempDir>| {
        let mut command = binary();
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        Server::launch(command, Arc::clone(data), &[])
    };
    let server = start(&data);
    let mut device = server.device("ada");
    let mut today = day(&mut device);
    let mut chain: Vec<String> = Vec::new();
    let mut chunks = Vec::new();
    for (n, jump) in ["+0", "+1d", "-1d", "+0", "-1d", "+1d"]
        .into_iter()
        .enumerate()
    {
        std::fs::write(&clock, jump).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while n > 0 && day(&mut device) == today {
            assert!(Instant::now() < deadline, "the clock stands still");
        }
        today = day(&mut device);
        // On the server that saw the jump, and on one that starts after it.
        for server in [&server, &start(&data)] {
            let mut device = server.device("ada");
            let head = device.head().0;
            let id = transaction_id(&format!("{n} {}", server.pid()));
            let own = chunk(format!("{n} {}", server.pid()));
            let parent = chain.last().map_or(ROOT, String::as_str);
            assert_eq!(head, parent);
            device.commit(&id, &head, &[&own]);
            chain.push(id);
            chunks.push(own);
            let before = Instant::now();
            let tag = format!("\"{}\"", device.head().0);
            device
                .get_with("head?wait=1", &[("if-none-match", &tag)])
                .expect(304);
            let waited = before.elapsed();
            assert!(waited < Duration::from_secs(15), "a second took {waited:?}");
        }
    }
    assert_eq!(device.chain_after(ROOT), chain);
    for chunk in &chunks {
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert_eq!(got.body, chunk.bytes);
    }
}
