//! The flags of `serve` for whoever watches by numbers.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::logging::ProcessLog;
use super::values::listener;
use crate::cli::arguments::is_set;
use crate::http::{Exposition, Listener, Scrapes, Site};
use crate::upkeep::census::Census;

/// Where numbers are told, and whether each user's are among them.
#[derive(Args)]
pub struct MetricsFlags {
    /// Where to tell what is counted, at GET /metrics (OpenMetrics, for Prometheus): HOST:PORT or unix:/path. An address
    /// of its own, at which nothing else is answered; whoever reaches it may read it. Nothing is counted without it.
    #[arg(long, value_name = "ADDR", env = "MENTAT_SYNC_METRICS_LISTEN", value_parser = listener)]
    metrics_listen: Option<Listener>,

    /// Tell also of each user, by the first 8 digits of the id: the last write, bytes, pending transactions.
    #[arg(long, env = "MENTAT_SYNC_METRICS_USERS", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    metrics_users: bool,
}

impl MetricsFlags {
    /// Whether anything is counted.
    pub fn are_on(&self) -> bool {
        self.metrics_listen.is_some()
    }

    /// Whether each user's files are counted.
    pub fn count_users(&self) -> bool {
        self.are_on() && self.metrics_users
    }

    /// Begins to answer whoever scrapes, if anybody may.
    ///
    /// # Errors
    /// The address that cannot be listened at, and why.
    pub fn start(
        &self,
        site: &Arc<Site>,
        log: &ProcessLog,
    ) -> Result<Option<Scrapes>, (Listener, io::Error)> {
        let Some(listener) = &self.metrics_listen else {
            return Ok(None);
        };
        let failed = |error| (listener.clone(), error);
        let census = Census::start(site.store.clone(), self.metrics_users).map_err(failed)?;
        let told = Exposition::new(site, census, log.dropped());
        let scrapes = Scrapes::start(listener, told).map_err(failed)?;
        log::info!("metrics at {}", scrapes.addresses().join(", "));
        Ok(Some(scrapes))
    }
}
