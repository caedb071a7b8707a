//! `mentat-sync serve`.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::listening::{ListeningFlags, cannot_listen};
use super::log_flags::{LogFlags, LogFormat};
use super::logging::ProcessLog;
use super::metrics::MetricsFlags;
use super::service::{Manager, handed_over};
use super::serving::{Serving, clear_in_background};
use super::signals::{outlive_hangups, stop_signals};
use super::values::{duration, grace, size, size_or_none};
use crate::cli::arguments::{DataDirectory, is_set};
use crate::cli::failure::Failure;
use crate::cli::open::{not_by_network, not_usable, open_to_serve, say_on_stderr};
use crate::disk::Grouping;
use crate::http::{Certificates, Places, Server, ServerOptions, Settings, Site};
use crate::model::{Shard, limits};
use crate::rules::snapshots::SnapshotPolicy;
use crate::store::{Options, Store, StoreKind};
use crate::upkeep::gc;

/// One in so many of the files that may be open is not for a connection, but for what those that are
/// not idle read and write. A request that finds none left is answered 503 `busy`.
const OTHER_FILES: u64 = 4;

/// Serve a data directory over HTTP.
///
/// Says on stdout, once it listens: `mentat-sync VERSION serves DIR at http://ADDRESS:PORT`, with
/// `, ` between several addresses. SIGTERM and Ctrl-C end it when what is in flight is done; a second
/// one, later than a second after the first, at once. SIGHUP has it look at the files of --tls-cert and --tls-key. What it logs, on stderr, is chosen by RUST_LOG (`RUST_LOG=warn` is without the access
/// log).
#[derive(Args)]
pub struct ServeCommand {
    #[command(flatten)]
    data: DataDirectory,

    #[command(flatten)]
    listening: ListeningFlags,

    /// Never make a store: fail where there is none. For a service, whose disk may not be mounted. Without it, a store is
    /// made where the data directory is not there or empty, and a line says so.
    #[arg(long, env = "MENTAT_SYNC_EXISTING", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    existing: bool,

    /// The longest chunk that is taken.
    #[arg(long, value_name = "SIZE", env = "MENTAT_SYNC_MAX_CHUNK_BYTES", default_value = "1GiB",
          value_parser = size)]
    max_chunk_bytes: u64,

    /// The most pending transactions a user, not counting what HEAD cannot reach any more, nor what a bundle's
    /// HEAD reaches at once.
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_MAX_PENDING_TRANSACTIONS",
          default_value_t = limits::PENDING_TRANSACTIONS)]
    max_pending_transactions: usize,

    /// The most bytes a user, committed and pending together; uploads beyond are answered 507
    /// `quota-exceeded`. No limit, without it.
    #[arg(long, value_name = "SIZE", env = "MENTAT_SYNC_MAX_USER_BYTES", value_parser = size)]
    max_user_bytes: Option<u64>,

    /// The most files a user, committed and pending together. No limit, without it.
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_MAX_USER_FILES",
          value_parser = clap::value_parser!(u64).range(1..))]
    max_user_files: Option<u64>,

    /// How much of the disk uploads leave free: below that they are answered 507 `no-space`, while HEAD,
    /// reads, gc and DELETE still work. 0: until nothing is left.
    #[arg(long, value_name = "SIZE", env = "MENTAT_SYNC_MIN_FREE", default_value = "0",
          value_parser = size_or_none)]
    min_free: u64,

    /// How long a request body may stall before it is answered 408 (as it is when it is a minute behind a
    /// pace of 128 bytes a second); and how long a client may take nothing of an answer before it is let go.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_BODY_TIMEOUT", default_value = "30s",
          value_parser = duration)]
    body_timeout: Duration,

    /// How long the head of a request may take.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_HEAD_TIMEOUT", default_value = "10s",
          value_parser = duration)]
    head_timeout: Duration,

    /// How long requests in flight may take to end after SIGTERM.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_SHUTDOWN_TIMEOUT", default_value = "30s",
          value_parser = duration)]
    shutdown_timeout: Duration,

    /// Connections at a time; more wait to be accepted. One address may have three quarters of them, and
    /// gets 503 beyond that. Fewer where the system allows too few open files (`ulimit -Hn`).
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_MAX_CONNECTIONS",
          default_value_t = limits::CONNECTIONS)]
    max_connections: usize,

    /// Clients that may wait for another head at a time (`head?wait=` and `events`), over all users;
    /// more get 503. One user may have half of them, and one address three quarters.
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_MAX_WAITERS",
          default_value_t = limits::WAITERS)]
    max_waiters: usize,

    /// Ask a client of TaskChampion's for a snapshot once there are so many versions since the last one; half as many more, and the
    /// wish is urgent.
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_SNAPSHOT_VERSIONS",
          default_value_t = limits::SNAPSHOT_VERSIONS)]
    snapshot_versions: u32,

    /// Ask a client of TaskChampion's for a snapshot once the last one is so many days old, in the same way.
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_SNAPSHOT_DAYS",
          default_value_t = limits::SNAPSHOT_DAYS)]
    snapshot_days: u32,

    /// Threads that serve requests [default: one a processor, two at least].
    #[arg(long, value_name = "NUMBER", env = "MENTAT_SYNC_WORKERS")]
    workers: Option<NonZeroUsize>,

    /// Whether a user without a folder gets one at the first upload, or 403.
    #[arg(
        long,
        value_name = "POLICY",
        env = "MENTAT_SYNC_NEW_USERS",
        default_value = "allow"
    )]
    new_users: NewUsers,

    /// The users that this box is for, among several behind a proxy: first hex digits of their ids, such as 0-5 or 00-7f,c0.
    /// Others are answered 421 `wrong-shard`, unless their folder is here. `mentat-sync example shards` has the proxy's side.
    #[arg(long, value_name = "RANGE", env = "MENTAT_SYNC_SHARD")]
    shard: Option<Shard>,

    /// Answer DELETE of a whole user, which removes all that is theirs.
    #[arg(long, env = "MENTAT_SYNC_ALLOW_DELETE", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    allow_delete: bool,

    /// Let a chunk be called by a uuid too, as Mentat's own client does.
    #[arg(long, env = "MENTAT_SYNC_UUID_CHUNK_IDS", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    uuid_chunk_ids: bool,

    /// Collect garbage so often, inside the server, as `mentat-sync gc` does. Never, without it.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_GC_EVERY", value_parser = duration)]
    gc_every: Option<Duration>,

    /// How long --gc-every keeps what nothing reachable needs after it was last uploaded or asked about.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_GRACE", default_value = "14d",
          value_parser = grace)]
    grace: Duration,

    /// How writes are made durable. With `auto` a lone writer syncs its own files, and several at a
    /// time share one syncfs(2), which is much quicker but waits for everybody's writes on that file
    /// system; with `each` every writer syncs its own. On a file system by FUSE, where syncfs(2) does
    /// nothing, it is always `each`.
    #[arg(
        long,
        value_name = "HOW",
        env = "MENTAT_SYNC_SYNC",
        default_value = "auto"
    )]
    sync: Syncs,

    /// Serve from a network file system (NFS, CIFS, Ceph, GlusterFS and the like), and say with this that no
    /// other server uses the directory: such a lock can be lost with the network.
    #[arg(long, env = "MENTAT_SYNC_NETWORK_FILE_SYSTEM", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    network_file_system: bool,

    #[command(flatten)]
    metrics: MetricsFlags,

    #[command(flatten)]
    logging: LogFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NewUsers {
    Allow,
    Deny,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Syncs {
    Auto,
    Each,
}

impl ServeCommand {
    /// Serves until a signal ends it. Fails where the directory or an address cannot be used.
    pub fn run(&self) -> Result<(), Failure> {
        // Before there are threads, since it changes the environment.
        let sockets = handed_over().map_err(|error| {
            Failure::failed(format!("cannot use a socket that was handed over: {error}"))
        });
        let format = self.logging.log_format;
        let log = ProcessLog::start(format).map_err(no_thread)?;
        let ended = sockets
            .and_then(|sockets| self.listening.places(sockets))
            .and_then(|places| self.run_with(&log, places));
        let ended = ended.map_err(|failure| match format {
            LogFormat::Text => failure,
            LogFormat::Json => failure.logged(),
        });
        log.flush();
        ended
    }

    fn run_with(&self, log: &ProcessLog, places: Places) -> Result<(), Failure> {
        let renewal = places.certificates.as_ref().map(Certificates::renew);
        let renewal = renewal.transpose().map_err(no_thread)?;
        let system = actix_web::rt::System::new();
        system
            .block_on(async { outlive_hangups(renewal) })
            .map_err(no_signals)?;
        let (store, grouping) = self.open()?;
        let connections = self.connections();
        clear_in_background(&store);
        if let Some(period) = self.gc_every {
            let options = gc::CollectOptions {
                grace: self.grace,
                ..gc::CollectOptions::default()
            };
            gc::every(store.clone(), period, options).map_err(no_thread)?;
        }
        let settings = Settings {
            body_stall: self.body_timeout,
            allow_delete: self.allow_delete,
            page: self.listening.has_page(),
            snapshots: SnapshotPolicy {
                versions: self.snapshot_versions,
                days: self.snapshot_days,
            },
            waiters: self.max_waiters,
            together: grouping == Grouping::Auto,
            origins: self.listening.origins(),
            counted: self.metrics.are_on(),
            clients: self.logging.clients(),
        };
        let options = ServerOptions {
            workers: self.workers(),
            connections,
            head_timeout: self.head_timeout,
            taking_timeout: self.body_timeout,
            shutdown: self.shutdown_timeout,
        };
        let site = Arc::new(Site::new(store, settings));
        system.block_on(self.serve(site, places, &options, log.clone()))
    }

    /// The store, and who syncs what in it.
    fn open(&self) -> Result<(Store, Grouping), Failure> {
        let path = &self.data.path;
        if !self.network_file_system {
            not_by_network(path)?;
        }
        let options = Options {
            kind: StoreKind::Server,
            new_users: self.new_users == NewUsers::Allow,
            shard: self.shard.clone(),
            uuid_chunk_ids: self.uuid_chunk_ids,
            chunk_bytes: self.max_chunk_bytes,
            pending_transactions: self.max_pending_transactions,
            user_bytes: self.max_user_bytes,
            user_files: self.max_user_files,
            tally: self.metrics.count_users(),
            min_free: self.min_free,
        };
        let grouping = match self.sync {
            Syncs::Auto => Grouping::Auto,
            Syncs::Each => Grouping::Off,
        };
        let say: fn(&str) = match self.logging.log_format {
            LogFormat::Text => say_on_stderr,
            LogFormat::Json => |words| log::warn!("{words}"),
        };
        let (store, works) = open_to_serve(path, options, grouping, self.existing, say)?;
        let put_off = store
            .probe_or_put_off()
            .map_err(|error| not_usable(path, &error))?;
        if let Some(full) = put_off {
            let Failure { words, .. } = not_usable(path, &full);
            log::warn!(
                "the disk is full: {words}; reads, gc and delete work, uploads are refused, and what is needed of the \
                 directory is tried once there is room"
            );
        }
        if works != grouping {
            log::info!(
                "{} is on a file system by FUSE: every file is synced by itself, whatever --sync says",
                path.display()
            );
        }
        Ok((store, works))
    }

    async fn serve(
        &self,
        site: Arc<Site>,
        places: Places,
        options: &ServerOptions,
        log: ProcessLog,
    ) -> Result<(), Failure> {
        let manager = Manager::find().map_err(no_thread)?;
        let told = manager.clone();
        // Before anybody can know that it listens.
        let stop = stop_signals(log.clone()).map_err(no_signals)?;
        let (watch, store) = (Arc::clone(&site.watch), site.store.clone());
        let stop = async move {
            stop.await;
            told.stops();
            // Those who wait for a head have nothing in flight.
            watch.close();
        };
        let server = match Server::bind(&site, places, options, stop).await {
            Err((None, error)) if error.kind() == io::ErrorKind::Interrupted => {
                log::info!("stopped before it could listen");
                return Ok(());
            }
            bound => bound.map_err(|(listener, error)| cannot_listen(listener.as_ref(), &error))?,
        };
        let scrapes = self.metrics.start(&site, &log);
        let _scrapes = scrapes.map_err(|(at, error)| cannot_listen(Some(&at), &error))?;
        let _serving = Serving::enter(&store, server.addresses());
        // The format of this line is a promise: scripts wait for it, and read the port from it.
        let line = format!(
            "mentat-sync {} serves {} at {}",
            env!("CARGO_PKG_VERSION"),
            shown(&self.data.path),
            server.addresses().join(", "),
        );
        if self.logging.log_format == LogFormat::Json {
            log::info!("{line}");
        }
        // Served is served, whether or not anybody reads it.
        let _ = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
        manager.is_ready();
        let ended = server.run_watched(manager.watcher()).await;
        log::info!("stopped");
        ended.map_err(|error| Failure::failed(format!("the server failed: {error}")))
    }

    fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        self.workers
            .map_or_else(|| processors().max(2), NonZeroUsize::get)
    }

    /// The connections to take: as many as were asked for, if so many files can be open.
    fn connections(&self) -> usize {
        let files = raise_open_files();
        let possible = usize::try_from(files - files / OTHER_FILES)
            .unwrap_or(usize::MAX)
            .max(1);
        if possible < self.max_connections {
            log::info!(
                "at most {files} files can be open here (ulimit -Hn): {possible} connections at a time"
            );
        }
        self.max_connections.clamp(1, possible)
    }
}

/// Allows this process as many open files as the system lets it, and says how many.
fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let reached = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    reached.unwrap_or(u64::MAX)
}

fn no_signals(error: io::Error) -> Failure {
    Failure::failed(format!("cannot listen for signals: {error}"))
}

fn no_thread(error: io::Error) -> Failure {
    Failure::failed(format!("cannot start a thread: {error}"))
}

/// The whole path, so that a log read later says which directory it was.
fn shown(path: &Path) -> String {
    let whole = path.canonicalize();
    whole.as_deref().unwrap_or(path).display().to_string()
}
