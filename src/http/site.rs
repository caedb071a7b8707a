//! The state that all requests share, and the choices of the operator.

use std::sync::Arc;
use std::time::Duration;

use super::metrics::counters::AnswerCounts;
use super::pulse::Pulse;
use super::request::body::BodyBounds;
use super::request::clients::Clients;
use super::request::limiters::Limiters;
use super::request::origins::Origins;
use super::watch::HeadWatch;
use crate::model::limits;
use crate::rules::snapshots::SnapshotPolicy;
use crate::store::{GroupCommit, Store};

/// The state that all requests share.
pub struct Site {
    /// The store that is served.
    pub store: Store,
    /// The operator's choices.
    pub settings: Settings,
    /// The watch that wakes those who wait for another head.
    pub watch: Arc<HeadWatch>,
    /// The counts of what is answered, where anybody wants them.
    pub(super) counters: Option<Arc<AnswerCounts>>,
    pub(super) group_commit: GroupCommit,
    pub(super) heartbeat: Pulse,
    pub(super) limiters: Limiters,
    pub(super) bodies: BodyBounds,
}

/// The operator's choices that do not concern the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time for which a request body may stall.
    pub body_stall: Duration,
    /// `DELETE` of a whole user is allowed.
    pub allow_delete: bool,
    /// There is a page for whoever asks for HTML.
    pub page: bool,
    /// When a client of TaskChampion's is asked for a snapshot.
    pub snapshots: SnapshotPolicy,
    /// The number of clients that may wait for another head at a time.
    pub waiters: usize,
    /// Small uploads that come at a time go in groups; otherwise each on a thread of its own.
    pub together: bool,
    /// The pages of the web that may ask, and the names that the server goes by.
    pub origins: Origins,
    /// Answers are counted, for whoever watches.
    pub counted: bool,
    /// The choices about addresses in the access log.
    pub clients: Clients,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_stall: limits::BODY_STALL,
            allow_delete: false,
            page: true,
            snapshots: SnapshotPolicy {
                versions: limits::SNAPSHOT_VERSIONS,
                days: limits::SNAPSHOT_DAYS,
            },
            waiters: limits::WAITERS,
            together: true,
            origins: Origins::default(),
            counted: false,
            clients: Clients::default(),
        }
    }
}

impl Site {
    /// A site over this store. Starts the threads that watch it.
    pub fn new(store: Store, settings: Settings) -> Self {
        let limiters = Limiters::new(settings.waiters);
        Self {
            watch: HeadWatch::new(store.clone()),
            bodies: BodyBounds {
                stall: settings.body_stall,
                memory: limiters.bodies.clone(),
            },
            limiters,
            counters: settings.counted.then(Arc::default),
            group_commit: GroupCommit::of(store.clone()),
            store,
            settings,
            heartbeat: Pulse::default(),
        }
    }
}
