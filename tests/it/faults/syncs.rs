//! Who syncs what, seen from outside: `--sync each` waits for nobody else's writes, and not for other uploads.

use std::time::{Duration, Instant};

use super::strace::{self, Tracer};
use crate::kit::{ROOT, Server, chunk, skipped, transaction_id};

/// How long each sync takes here.
const SYNC: Duration = Duration::from_millis(100);

/// Uploads that come at a time.
const UPLOADS: usize = 16;

/// The syncs that a server makes for uploads that come at a time, each of which is late, and how long those
/// took; then for one advance.
fn syncs(how: &str) -> (Vec<String>, Duration) {
    let server = Server::with(&["--sync", how]);
    let mut device = server.device("ada");
    device.put_chunk(&chunk("the first")).expect(201);
    let log = server.data().with_file_name("syncs.log");
    let late = format!("inject=fsync,syncfs:delay_exit={}", SYNC.as_micros());
    let trace = ["-f", "-e", "trace=fsync,syncfs", "-e", &late].map(str::to_owned);
    let tracer = Tracer::attach_to(&[server.pid().to_string()], &log, &trace);

    let since = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..UPLOADS {
            let mut device = server.device("ada");
            scope.spawn(move || device.put_chunk(&chunk(number.to_string())).expect(201));
        }
    });
    let took = since.elapsed();
    let id = transaction_id("one");
    let named = chunk("0").id;
    device.put_transaction(&id, ROOT, &[&named]).expect(201);
    device.put_head(&id).expect(204);

    (tracer.detach(), took)
}

#[test]
fn with_sync_each_nobody_waits_for_others() {
    if !strace::works() {
        skipped("which syncs are made", "strace cannot trace here");
        return;
    }
    let count = |lines: &[String], call: &str| {
        let made = |line: &&String| line.contains(call);
        lines.iter().filter(made).count()
    };
    let (lines, _) = syncs("auto");
    assert!(count(&lines, " syncfs(") > 0, "{lines:#?}");
    assert!(count(&lines, "sync") < UPLOADS, "{lines:#?}");
    let (lines, took) = syncs("each");
    assert_eq!(count(&lines, " syncfs("), 0, "{lines:#?}");
    assert!(count(&lines, " fsync(") >= 2 * UPLOADS, "{lines:#?}");
    // One after the other they would take this long.
    let in_turn = 2 * UPLOADS as u32 * SYNC;
    assert!(took < in_turn / 2, "{took:?}");
}
