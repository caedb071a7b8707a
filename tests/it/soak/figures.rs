//! What a campaign prints at its end, and what it leaves when something was wrong.

use std::fs;

use super::gauges::{Sample, thirds};
use super::{Outcome, SERVERS};

/// Fewer samples are not worth a figure.
const FEW: usize = 60;

impl Outcome {
    /// One line of figures.
    pub fn figures(&self) -> String {
        let verdict = &self.stage.verdict;
        let count = |what: &str| verdict.counted(what);
        let gauges = match self.samples.len() {
            FEW.. => {
                let [first, last] = thirds(&self.samples);
                let mebibytes = |sample: Sample| sample.memory as f64 / f64::from(1 << 20);
                format!(
                    "memory {:.1} then {:.1} MiB, descriptors {} then {}",
                    mebibytes(first),
                    mebibytes(last),
                    first.descriptors,
                    last.descriptors
                )
            }
            _ => "over too soon to tell whether anything grew".to_owned(),
        };
        let devices: u64 = self
            .stage
            .plan
            .users
            .iter()
            .map(|kind| kind.devices())
            .sum();
        format!(
            "{:.0} s, seed {}, {SERVERS} servers, {} kills, {} stops, {} pauses, {} users, {devices} devices: {} requests, {} \
             advances ({} bundles pushed, {} pulled), {} races lost, {} refused on purpose, {} waits, {} events; renamed {} \
             times, deleted {} times, replaced {} times; {} collections took {} files; {} repairs found nothing, {} rotten chunks mended; {} commands killed; \
             copies sound: {}; {} chunks found whole; quiet user (middle/99 %/longest): {}; {gauges}; {} wrong",
            self.took.as_secs_f64(),
            self.stage.plan.seed,
            count("kills"),
            count("stops"),
            count("pauses"),
            count("users"),
            count("requests"),
            count("advances"),
            count("bundles pushed"),
            count("bundles pulled"),
            count("races lost"),
            count("refused on purpose"),
            count("waits"),
            count("events"),
            count("renamed"),
            count("deleted and made anew"),
            count("replaced"),
            count("collections"),
            count("files collected"),
            count("repairs that found nothing"),
            count("rotten chunks mended"),
            count("commands killed"),
            verdict.all("copies by "),
            count("chunks found whole"),
            self.stage.latencies.told(),
            verdict.wrongs().len(),
        )
    }

    /// Everything else that was counted.
    pub fn counts(&self) -> String {
        self.stage.verdict.all("")
    }

    /// Keeps the directory, with what each user was answered, and says where. Whoever looks into it finds the store, the
    /// broken copy and the histories.
    pub fn keep(self) -> String {
        let names = self.stage.houses();
        let top = self.top.path().to_owned();
        for house in names {
            let lines = house.remembered().join("\n");
            fs::write(top.join(format!("history-{:?}", house.kind)), lines).unwrap();
        }
        let said = self.stage.fleet.said().join("\n");
        fs::write(top.join("servers"), said).unwrap();
        let wrongs: Vec<String> = self
            .stage
            .verdict
            .wrongs()
            .iter()
            .map(ToString::to_string)
            .collect();
        fs::write(top.join("wrong"), wrongs.join("\n")).unwrap();
        let kinds = self.stage.verdict.kinds();
        drop(self.stage);
        let mut top = self.top;
        if let Some(top) = std::sync::Arc::get_mut(&mut top) {
            top.disable_cleanup(true);
        }
        format!(
            "{kinds:?}; the store, the copies, and what was asked and answered (history-*, servers, wrong) are kept in {}",
            top.path().display()
        )
    }
}
