//! One recording, the cuts of it, and what came of them.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;

use crate::blocks::Blocks;
use crate::device::{Devices, Event};
use crate::images::{self, Cut, Cutter, Kept};
use crate::mark::Promises;
use crate::mount::{FileSystem, Mount, succeed};
use crate::verify::{Verdict, verify};
use crate::workload::Workload;

/// Images that are checked at a time.
const WORKERS: usize = 3;

/// How often an image is looked at while the machine is in the way. If it still is after that, the image
/// counts as one in violation: a server that never answers looks the same.
const LOOKS: usize = 4;

/// So many disks in violation are kept.
const KEPT: usize = 3;

/// What all recordings have in common.
pub struct Bench<'a> {
    /// The server under test, and the one that can be told to break a rule.
    pub server: &'a Path,
    pub mistaken: &'a Path,
    pub devices: Devices,
    /// Where to mount.
    pub top: PathBuf,
    /// Where disks in violation are kept.
    pub keep: &'a Path,
    pub kept: AtomicUsize,
}

/// One recording, and the cuts of it.
pub struct Trial<'a> {
    pub file_system: &'a FileSystem,
    /// The rule that the server breaks. The first violation is enough then, and the last thing that is looked for.
    pub mistake: Option<&'a str>,
    pub clients: usize,
    pub answers: usize,
    pub images: usize,
    pub seed: u64,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub images: usize,
    pub answers: usize,
    /// Those in which something unflushed was there to be lost.
    pub lossy: usize,
    /// Looks at an image that told nothing, since the machine was in the way.
    pub again: usize,
    /// Images in which a promise is broken, and what is wrong there.
    pub violations: Vec<String>,
}

/// The cuts that are still to be looked at, and what makes their disks.
type Next<'a> = (Cutter<'a>, std::slice::Iter<'a, Cut>);

const POISONED: &str = "a worker that panics ends the test";

impl Bench<'_> {
    /// Records, cuts and looks. Each violation of a server that breaks no rule is printed when it is found.
    pub fn run(&self, trial: &Trial) -> io::Result<Tally> {
        let (start, recording) = self.record(trial)?;
        let mut rng = Rng::with_seed(trial.seed);
        let cuts = images::choose(&recording, trial.images, &mut rng);
        let tally = Mutex::new(Tally::default());
        let next = Mutex::new((Cutter::new(start, &recording), cuts.iter()));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| self.work(trial, &recording, &next, &tally));
            }
        });
        Ok(tally.into_inner().expect(POISONED))
    }

    /// Makes the disk of one cut after the other, and looks what is wrong with it.
    fn work(&self, trial: &Trial, recording: &[Event], next: &Mutex<Next>, tally: &Mutex<Tally>) {
        loop {
            let (cut, disk, losable) = {
                let mut next = next.lock().expect(POISONED);
                let found = !tally.lock().expect(POISONED).violations.is_empty();
                let caught = trial.mistake.is_some() && found;
                let Some(&cut) = next.1.next().filter(|_| !caught) else {
                    return;
                };
                let (disk, losable) = next.0.cut(cut);
                (cut, disk, losable)
            };
            let promises = images::promises(recording, cut.at);
            let (verdict, looks) = self.look(trial, &disk, &promises);
            let mut tally = tally.lock().expect(POISONED);
            tally.images += 1;
            tally.again += looks - 1;
            tally.answers += promises.answers;
            tally.lossy += usize::from(losable > 0 && cut.kept != Kept::Everything);
            let wrong = match verdict {
                Verdict::Right => continue,
                Verdict::Wrong(wrong) => wrong,
                // A machine in the way has not caught anything.
                Verdict::Untold(_) if trial.mistake.is_some() => continue,
                Verdict::Untold(why) => vec![format!("it told nothing, {looks} times: {why}")],
            };
            let violation = Violation {
                trial,
                cut,
                wrong: &wrong,
            };
            if trial.mistake.is_none() {
                say(&violation);
                self.keep(trial, &disk, &promises, &violation);
            }
            tally.violations.push(violation.to_string());
        }
    }

    /// The disk at first, and what happened to it.
    fn record(&self, trial: &Trial) -> io::Result<(Blocks, Vec<Event>)> {
        let bytes = trial.file_system.megabytes << 20;
        let device = self.devices.add(Blocks::default(), bytes);
        trial.file_system.make(&device)?;
        let mount = Mount::new(&device, &self.top, trial.file_system)?;
        let data = mount.path().join("data");
        succeed(Command::new("sync").arg("--file-system").arg(mount.path()))?;
        let start = device.record();
        let workload = Workload {
            binary: match trial.mistake {
                Some(_) => self.mistaken,
                None => self.server,
            },
            data: &data,
            mistake: trial.mistake,
            clients: trial.clients,
            answers: trial.answers,
            seed: trial.seed,
        };
        workload.run(&self.devices)?;
        // Before it is unmounted, which would make everything durable.
        let recording = self.devices.take_recording();
        drop(mount);
        Ok((start, recording))
    }

    /// What is wrong with a disk that survived, and how often it had to be looked at. Each look begins with the
    /// disk as the power cut left it.
    fn look(&self, trial: &Trial, disk: &Blocks, promises: &Promises) -> (Verdict, usize) {
        let mut looks = 1;
        loop {
            match self.look_once(trial, disk.clone(), promises) {
                Verdict::Untold(_) if looks < LOOKS => looks += 1,
                verdict => return (verdict, looks),
            }
        }
    }

    fn look_once(&self, trial: &Trial, disk: Blocks, promises: &Promises) -> Verdict {
        let device = self.devices.add(disk, trial.file_system.megabytes << 20);
        let mount = match Mount::new(&device, &self.top, trial.file_system) {
            Ok(mount) => mount,
            Err(error) => return Verdict::Untold(format!("it cannot be mounted: {error}")),
        };
        let data = mount.path().join("data");
        if promises.answers == 0 && !data.exists() {
            return Verdict::Right;
        }
        verify(self.server, &data, promises)
    }

    /// Keeps a disk in violation as the power cut left it, to be mounted and looked into, and beside it what is
    /// wrong and what had been promised.
    fn keep(&self, trial: &Trial, disk: &Blocks, promises: &Promises, violation: &Violation) {
        let number = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        if number > KEPT {
            return;
        }
        let name = format!("violation-{}-{number}", trial.seed);
        let image = self.keep.join(format!("{name}.img"));
        let kept = disk
            .save(&image, trial.file_system.megabytes << 20)
            .and_then(|()| {
                let text = self.keep.join(format!("{name}.txt"));
                fs::write(text, format!("{violation}{promises}"))
            });
        match kept {
            Ok(()) => say(&format_args!("  the disk is kept: {}\n", image.display())),
            Err(error) => say(&format_args!("  the disk is not kept: {error}\n")),
        }
    }
}

/// What is wrong with the disk of one cut.
struct Violation<'a> {
    trial: &'a Trial<'a>,
    cut: Cut,
    wrong: &'a [String],
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial {
            file_system,
            clients,
            seed,
            ..
        } = self.trial;
        writeln!(
            f,
            "seed {seed}, {}, {clients} clients, cut before event {}, {:?} kept:",
            file_system.name, self.cut.at, self.cut.kept
        )?;
        for what in self.wrong {
            writeln!(f, "    {}", what.trim_end())?;
        }
        Ok(())
    }
}

/// Prints it whole and at once, whoever else prints.
pub fn say(what: &impl fmt::Display) {
    let mut out = io::stdout().lock();
    // Whoever reads may stop reading: the exit status still tells.
    let _ = write!(out, "{what}").and_then(|()| out.flush());
}
