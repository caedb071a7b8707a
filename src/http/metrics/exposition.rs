//! All that is told to whoever scrapes, as OpenMetrics has it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::AnswerCounts;
use crate::http::site::Site;
use crate::model::timings::Timings;
use crate::store::Frozen;
use crate::upkeep::census::Census;

/// The media type of the text.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The beginning of every name.
const PREFIX: &str = "mentat_sync";

/// The registry of all that is told.
pub struct Exposition(Registry);

/// The sources of what is told.
struct Sources {
    site: Arc<Site>,
    counters: Arc<AnswerCounts>,
    census: Census,
    log_lines_dropped: Arc<AtomicU64>,
}

impl Exposition {
    /// All that this site counts, beside the figures of a census and the number of log lines that nobody read. A site that
    /// counts nothing tells of no requests.
    pub fn new(site: &Arc<Site>, census: Census, log_lines_dropped: Arc<AtomicU64>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Sources {
            counters: site.counters.clone().unwrap_or_default(),
            site: Arc::clone(site),
            census,
            log_lines_dropped,
        }));
        Self(registry)
    }

    /// The text of a scrape. Asks the file system how much room there is, and may wait for it.
    ///
    /// # Errors
    /// None that a string could not take.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut all = String::new();
        text::encode(&mut all, &self.0)?;
        Ok(all)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.requests(&mut page)?;
        self.now(&mut page)?;
        self.disk(&mut page)?;
        self.users(&mut page)
    }
}

impl Sources {
    /// Tells the requests since the server started.
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Requests answered, by route and status";
        let mut requests = page.named("requests", help, MetricType::Counter)?;
        for (route, _, answers) in self.counters.routes() {
            for (status, count) in answers {
                let status = status.to_string();
                let labels = [("route", route), ("status", status.as_str())];
                let mut one = requests.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
            }
        }
        let help =
            "Time until an answer began, by route; not of requests that wait for another head";
        let mut seconds = page.named("request_seconds", help, MetricType::Histogram)?;
        for (route, times, _) in self.counters.routes() {
            let labels = [("route", route)];
            histogram(&mut seconds.encode_family(&labels)?, times)?;
        }
        page.counter(
            "head_moves",
            "Times that this server moved HEAD of a user",
            self.site.store.head_moves(),
        )?;
        let lost = "Advances of HEAD that were refused since somebody else was first";
        page.counter("races_lost", lost, self.counters.races_lost())?;
        let dropped = "Log lines that were not read as fast as they came";
        let count = self.log_lines_dropped.load(Ordering::Relaxed);
        page.counter("log_lines_dropped", dropped, count)
    }

    /// How things stand.
    fn now(&self, page: &mut Page<'_>) -> fmt::Result {
        let site = &self.site;
        page.gauge(
            "connections",
            "Connections that are open",
            self.counters.connections(),
        )?;
        let waiters = site.limiters.waiters.taken();
        page.gauge("waiters", "Clients that wait for another head", waiters)?;
        let queue = site.group_commit.waiting();
        page.gauge(
            "queue",
            "Uploads that have come and wait for the disk",
            queue,
        )
    }

    fn disk(&self, page: &mut Page<'_>) -> fmt::Result {
        let store = &self.site.store;
        if let Some(times) = store.sync_times() {
            let help = "Time that a sync of files and directories took";
            let mut seconds = page.named("sync_seconds", help, MetricType::Histogram)?;
            histogram(&mut seconds, &times)?;
        }
        if let Ok(room) = store.room() {
            page.gauge(
                "free_bytes",
                "Bytes that are free on the disk",
                room.free_bytes,
            )?;
        }
        if let Some((files, bytes)) = store.tallied() {
            let whose = "of the users who were counted since they last uploaded";
            page.gauge("files", &format!("Files {whose}"), files)?;
            page.gauge("bytes", &format!("Bytes {whose}"), bytes)?;
        }
        Ok(())
    }

    fn users(&self, page: &mut Page<'_>) -> fmt::Result {
        let figures = self.census.figures();
        if let Some(ran) = figures.last_gc {
            let help = "When garbage was last collected, in seconds since 1970";
            page.gauge("gc_last_run_seconds", help, seconds(ran))?;
        }
        if let Some(copied) = figures.last_copy {
            let help = "When the last copy came to its end, in seconds since 1970";
            page.gauge("last_copy_seconds", help, seconds(copied))?;
        }
        let help = "Users who are not served from here, by the word in their file frozen";
        let mut frozen = page.named("users_frozen", help, MetricType::Gauge)?;
        for state in Frozen::ALL {
            let labels = [("state", state.as_str())];
            let count = figures.frozen.get(state.as_str()).copied().unwrap_or(0);
            one_of(&mut frozen, &labels)?.encode_gauge(&count)?;
        }
        if figures.users.is_empty() {
            return Ok(());
        }
        let all = || figures.users.iter();
        let help = "When HEAD of a user last moved, in seconds since 1970";
        let written = all().filter_map(|(user, one)| Some((user, seconds(one.last_write?))));
        page.by_user("user_last_write_seconds", help, written)?;
        let bytes = all().filter_map(|(user, one)| Some((user, one.bytes?)));
        page.by_user(
            "user_bytes",
            "Bytes of a user, as far as they were counted",
            bytes,
        )?;
        let pending = all().map(|(user, one)| (user, one.pending));
        page.by_user(
            "user_pending",
            "Transactions of a user that are pending",
            pending,
        )
    }
}

/// The text as it is made.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn named<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // As the registry does for what is registered by itself.
        self.0
            .encode_descriptor(name, &format!("{help}."), None, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut named = self.named(name, help, MetricType::Counter)?;
        named.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.named(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn by_user<'u>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'u String, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut named = self.named(name, help, MetricType::Gauge)?;
        for (user, value) in values {
            let labels = [("user", user.as_str())];
            one_of(&mut named, &labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn one_of<'s>(
    named: &'s mut MetricEncoder<'_>,
    labels: &'s impl EncodeLabelSet,
) -> Result<MetricEncoder<'s>, fmt::Error> {
    named.encode_family(labels)
}

fn histogram(one: &mut MetricEncoder<'_>, times: &Timings) -> fmt::Result {
    let taken = times.taken();
    one.encode_histogram::<NoLabelSet>(taken.seconds, taken.count, &taken.buckets, None)
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs() as f64)
}
