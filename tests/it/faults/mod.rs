pub mod scene;
mod short;
pub mod strace;
mod syncs;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scene::{Act, Scene};
use strace::{Call, Fault, Tracer, changes, errors_of, numbered};

use crate::kit::{Answer, Server, binary, chunk, effort, skipped, transaction_id, user_id};

/// How long a killed server may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a thread may go on after its answer: an advance clears up.
const AFTERWARDS: Duration = Duration::from_millis(40);

/// The server under test, its scenes, and the count of what was done.
struct Rig {
    server: Server,
    log: PathBuf,
    scenes: usize,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    kills: usize,
    delays: usize,
    errors: BTreeMap<&'static str, usize>,
    refused: usize,
    /// Answered as if nothing had happened, truthfully.
    overcome: usize,
    /// The call was not made this time: the threads took turns otherwise.
    missed: usize,
    /// Made the user, or the whole store, read-only until a restart.
    read_only: usize,
}

impl Rig {
    fn new(name: &str, mistake: Option<&str>) -> Option<Self> {
        if !strace::works() {
            skipped("calls that fail", "strace cannot trace here");
            return None;
        }
        let mut command = binary();
        command.envs(mistake.map(|name| ("MENTAT_SYNC_MISTAKE", name)));
        let data = Arc::new(tempfile::tempdir().unwrap());
        let server = Server::launch(command, data, &["--workers", "1", "--allow-delete"]);
        let log = server.data().with_file_name(name);
        Some(Self {
            server,
            log,
            scenes: 0,
            tally: Tally::default(),
        })
    }

    fn scene(&mut self, act: Act) -> Scene {
        self.scenes += 1;
        Scene::new(&self.server, act, self.scenes)
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server = self.server.another();
    }

    /// The calls on the data directory that an act makes, in order.
    fn calls(&mut self, act: Act) -> Vec<Call> {
        // After a failed syncfs the server would sync otherwise.
        self.restart();
        let scene = self.scene(act);
        let tracer = Tracer::attach(&self.server, act, &self.log, &[]);
        let answer = scene.perform(&self.server).unwrap();
        assert!(scene.is_right(&answer, false), "{act:?}: {answer:?}");
        std::thread::sleep(2 * AFTERWARDS);
        let data = self.server.data().to_string_lossy().into_owned();
        let mut calls = Vec::new();
        for (name, nth, line) in numbered(&tracer.detach()) {
            if line.contains(&data) && !errors_of(&name).is_empty() {
                let line = line.replace(&data, "DATA");
                let line = line.replace(&user_id(&scene.name), "USER");
                calls.push(Call { name, nth, line });
            }
        }
        calls
    }

    /// Performs an act with this fault at this call, and looks what became of it.
    fn inject(&mut self, act: Act, call: &Call, fault: Fault) -> Result<(), String> {
        let scene = self.scene(act);
        let how = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            Fault::Error(name) => format!("error={name}"),
            Fault::Delay => "delay_enter=60000".to_owned(),
        };
        let inject = format!("inject={}:{how}:when={}", call.name, call.nth);
        let tracer = Tracer::attach(&self.server, act, &self.log, &["-e".to_owned(), inject]);
        let answer = scene.perform(&self.server);
        if fault == Fault::Kill {
            return self.after_a_kill(&scene, call, tracer, answer.ok());
        }
        // It may come after the answer.
        std::thread::sleep(AFTERWARDS);
        let lines = tracer.detach();
        let hit = lines
            .iter()
            .find(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"));
        let Some(hit) = hit else {
            self.tally.missed += 1;
            return Ok(());
        };
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        let done = scene.is_right(&answer, false);
        match fault {
            Fault::Delay => self.tally.delays += 1,
            Fault::Error(name) => *self.tally.errors.entry(name).or_default() += 1,
            Fault::Kill => unreachable!("it was seen to"),
        }
        if fault == Fault::Delay && !done {
            return Err(format!("late, and then {answer:?}"));
        }
        if !done && answer.status < 500 {
            return Err(format!("an error became {answer:?}"));
        }
        if !done && answer.status == 507 && !matches!(fault, Fault::Error("ENOSPC" | "EDQUOT")) {
            return Err(format!("no space, it says: {answer:?}"));
        }
        // A file's own sync is asked for once, before the answer.
        if done && call.name == "fsync" && fault != Fault::Delay {
            return Err("the sync failed, and it was acknowledged".to_owned());
        }
        match done {
            true => self.tally.overcome += 1,
            false => self.tally.refused += 1,
        }
        scene.check(&self.server, done)?;
        // Where the clearing up itself failed, gc does it, a day later.
        let clears = hit.contains("unlinkat(") || hit.contains("incoming/tmp\", {flags=O_RDONLY");
        if !clears {
            scene.is_clean(&self.server)?;
        }
        self.goes_on(&scene)?;
        if call.name == "syncfs" && fault != Fault::Delay {
            self.restart();
        }
        Ok(())
    }

    /// Every sync fails while an act is performed: whatever it is, it was not made durable.
    fn fail_all_syncs(&mut self, act: Act) -> Result<bool, String> {
        let scene = self.scene(act);
        let inject = "inject=fsync,syncfs,fdatasync:error=EIO".to_owned();
        let tracer = Tracer::attach(&self.server, act, &self.log, &["-e".to_owned(), inject]);
        let answer = scene.perform(&self.server);
        std::thread::sleep(AFTERWARDS);
        let lines = tracer.detach();
        if !lines.iter().any(|line| line.contains("(INJECTED)")) {
            return Ok(false);
        }
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        *self.tally.errors.entry("EIO").or_default() += 1;
        if answer.status < 500 {
            return Err(format!("nothing was synced, and the answer is {answer:?}"));
        }
        self.tally.refused += 1;
        scene.check(&self.server, false)?;
        self.goes_on(&scene)?;
        Ok(true)
    }

    /// The same works now; for whoever was made read-only, after a restart.
    fn goes_on(&mut self, scene: &Scene) -> Result<(), String> {
        let again = scene
            .perform(&self.server)
            .map_err(|error| format!("no answer: {error}"))?;
        if !scene.is_right(&again, true) {
            if again.status < 500 || scene.act.reads() {
                return Err(format!("tried again: {again:?}"));
            }
            scene.check(&self.server, false)?;
            self.tally.read_only += 1;
            self.restart();
            let again = scene.perform(&self.server).unwrap();
            if !scene.is_right(&again, true) {
                return Err(format!("tried again after a restart: {again:?}"));
            }
        }
        scene.check(&self.server, true)?;
        // And so does the next thing.
        let mut device = self.server.device(&scene.name);
        let (head, _) = device.head();
        device.commit(&transaction_id("next"), &head, &[&chunk("next")]);
        std::thread::sleep(AFTERWARDS);
        Ok(())
    }

    fn after_a_kill(
        &mut self,
        scene: &Scene,
        call: &Call,
        tracer: Tracer,
        answer: Option<Answer>,
    ) -> Result<(), String> {
        let done = answer.is_some();
        if let Some(answer) = answer
            && !scene.is_right(&answer, false)
        {
            return Err(format!("before the kill: {answer:?}"));
        }
        let killed = self.server.ended_within(5 * AFTERWARDS);
        let lines = tracer.detach();
        // A busy machine takes its time to bury it.
        let hit = numbered(&lines)
            .iter()
            .any(|(name, nth, _)| *name == call.name && *nth == call.nth);
        let killed = killed.or_else(|| {
            self.server
                .ended_within(if hit { PATIENCE } else { AFTERWARDS })
        });
        match killed {
            Some(status) if status.signal() == Some(9) => {}
            Some(other) => return Err(format!("it ended by itself: {other:?}")),
            None => {
                self.tally.missed += 1;
                return self.goes_on(scene);
            }
        }
        self.tally.kills += 1;
        self.server = self.server.another();
        scene.check(&self.server, done)?;
        self.goes_on(scene)
    }
}

/// The faults to try at this call, which is the how manieth of its act. `scripts/fault-test` tries more of
/// them than `cargo test` does.
fn faults(call: &Call, index: usize) -> Vec<Fault> {
    let errors = errors_of(&call.name).iter().copied().map(Fault::Error);
    let both = errors.clone().take(1).chain([Fault::Kill]);
    match effort::chosen::<String>("FAULT_TEST").as_deref() {
        Some("full") => [Fault::Kill, Fault::Delay]
            .into_iter()
            .chain(errors)
            .collect(),
        _ if !changes(call) => Vec::new(),
        Some("quick") => both.collect(),
        // For a first look every third call, and an error or a kill by turns.
        None if !effort::is_full() && !index.is_multiple_of(3) => Vec::new(),
        _ => both.skip(index % 2).take(1).collect(),
    }
}

#[test]
fn a_kill_or_an_error_at_any_call_loses_nothing() {
    let Some(mut rig) = Rig::new("strace.log", None) else {
        return;
    };
    let mut wrong = Vec::new();
    let start = Instant::now();
    for act in Act::ALL {
        let calls = rig.calls(act);
        println!("{act:?}: {} calls", calls.len());
        for (index, call) in calls.iter().enumerate() {
            for fault in faults(call, index) {
                if let Err(what) = rig.inject(act, call, fault) {
                    wrong.push(format!("{act:?}, {fault:?} at {call}: {what}"));
                    rig.restart();
                }
            }
        }
        // A tracer that comes just when a thread is made misses that thread.
        let mut tries = (0..3).map(|_| rig.fail_all_syncs(act));
        match tries.find(|failed| act.reads() || !matches!(failed, Ok(false))) {
            None => panic!("{act:?} syncs nothing"),
            Some(Ok(_)) => {}
            Some(Err(what)) => wrong.push(format!("{act:?}, no sync works: {what}")),
        }
    }
    let Tally {
        kills,
        delays,
        errors,
        refused,
        overcome,
        missed,
        read_only,
    } = &rig.tally;
    let failed: usize = errors.values().sum();
    println!(
        "fault-test: {} faults injected into {} operations in {:.0} s: {kills} kills, {delays} delays, {failed} errors \
         ({errors:?}), of which {refused} were refusals, {overcome} did not matter, {read_only} needed a restart; \
         {missed} missed their call; {} violations",
        kills + delays + failed,
        Act::ALL.len(),
        start.elapsed().as_secs_f64(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    let enough = effort::either(20, 50);
    assert!(kills + failed > enough, "too few to be a test");
}

#[test]
fn a_server_that_does_not_ask_whether_a_sync_failed_is_caught() {
    for act in [
        Act::Chunk,
        Act::Transaction,
        Act::Advance,
        Act::Bundle,
        Act::Version,
        Act::Missing,
        Act::Checkpoint,
        Act::OtherCheckpoint,
        Act::Delete,
    ] {
        let Some(mut rig) = Rig::new("strace.log", Some("SyncErrorIgnored")) else {
            return;
        };
        let caught = rig.fail_all_syncs(act).unwrap_err();
        assert!(caught.contains("nothing was synced"), "{act:?}: {caught}");
    }
}
