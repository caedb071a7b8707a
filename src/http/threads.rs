//! Threads for waiting on the disk, shared fairly between users.
//!
//! Each thread that serves has a pool of them. Of a pool one user gets a part at a time; what comes beyond it
//! waits here, without a thread, and of those who wait each user has a turn after the other. So whoever
//! has many slow requests under way makes nobody else wait for more than the end of one.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::model::{UserId, limits};

thread_local! {
    /// As the pool is that of the thread that serves, so is this.
    static THREADS: Arc<Threads> = Arc::default();
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOutcome {
    /// No thread was to be had in time; nothing was done.
    Busy,
    /// The work panicked.
    BrokeOff,
}

/// Has work of this user's done on a thread, from now on.
pub fn begin<T: Send + 'static>(
    user: &UserId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Begun<T> {
    THREADS.with(|threads| threads.begin(user, work))
}

/// Work that is done, or waits for a thread. Dropped, it is not done, unless it is being done: what is
/// being done goes on to its end.
pub struct Begun<T> {
    told: oneshot::Receiver<T>,
    /// Until it has a thread.
    waiting: Option<Waiting>,
}

/// What waits for a thread, and how long it may.
struct Waiting {
    job: Arc<dyn Job>,
    until: Instant,
}

impl<T> Begun<T> {
    /// What came of it.
    pub async fn outcome(mut self) -> Result<T, NoOutcome> {
        let broke_off = |_| NoOutcome::BrokeOff;
        if let Some(waiting) = &self.waiting {
            match timeout_at(waiting.until, &mut self.told).await {
                Ok(outcome) => return outcome.map_err(broke_off),
                Err(_) if waiting.job.forget() => return Err(NoOutcome::Busy),
                Err(_) => {}
            }
        }
        (&mut self.told).await.map_err(broke_off)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.job.forget();
    }
}

/// Those who have a thread or wait for one.
#[derive(Default)]
struct Threads(Mutex<State>);

#[derive(Default)]
struct State {
    running: usize,
    /// Only those with something that runs or waits.
    users: HashMap<UserId, Lane>,
    /// Whose turn it is next: each once who has something waiting and may have another thread.
    next: VecDeque<UserId>,
}

/// One user's work.
#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Arc<dyn Job>>,
    is_next: bool,
}

/// Work that is done once at the most.
trait Job: Send + Sync {
    fn run(&self);
    /// Drops the work and all that it holds, unless it has begun; says whether it did.
    fn forget(&self) -> bool;
}

/// Work, and where its outcome goes, until somebody takes it: to do it, or to drop it.
struct Slot<F, T>(Mutex<Option<(F, oneshot::Sender<T>)>>);

impl<F, T> Slot<F, T> {
    fn take(&self) -> Option<(F, oneshot::Sender<T>)> {
        self.0.lock().expect(POISONED).take()
    }
}

impl<F: FnOnce() -> T + Send, T: Send> Job for Slot<F, T> {
    fn run(&self) {
        if let Some((work, tell)) = self.take() {
            // Whoever has gone needs no outcome.
            let _ = tell.send(work());
        }
    }

    fn forget(&self) -> bool {
        self.take().is_some()
    }
}

const POISONED: &str = "no code panics while it holds this";

impl Threads {
    fn begin<F, T>(self: &Arc<Self>, user: &UserId, work: F) -> Begun<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Arc<dyn Job> = Arc::new(Slot(Mutex::new(Some((work, tell)))));
        let waiting = (!self.submit(user, Arc::clone(&job))).then(|| Waiting {
            job,
            until: Instant::now() + limits::THREAD_WAIT,
        });
        Begun { told, waiting }
    }

    /// Begins with it, or lets it wait; says which.
    fn submit(self: &Arc<Self>, user: &UserId, job: Arc<dyn Job>) -> bool {
        let mut state = self.lock();
        let most = state.most();
        let is_full = state.running >= limits::BLOCKING_THREADS;
        let lane = state.users.entry(*user).or_default();
        if is_full || lane.running >= most {
            lane.waiting.push_back(job);
            state.stand_in_line(user);
            return false;
        }
        lane.running += 1;
        state.running += 1;
        drop(state);
        let (threads, user) = (Arc::clone(self), *user);
        tokio::task::spawn_blocking(move || threads.work(user, job));
        true
    }

    /// One after the other, as long as anything waits that may begin.
    fn work(&self, mut user: UserId, mut job: Arc<dyn Job>) {
        loop {
            // The panic has been told, and whoever waits for the outcome is, by the end of its sender.
            let _ = catch_unwind(AssertUnwindSafe(|| job.run()));
            drop(job);
            let next = self.lock().done(&user);
            match next {
                Some(next) => (user, job) = next,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect(POISONED)
    }
}

impl State {
    /// How many threads one user may have now.
    fn most(&self) -> usize {
        match self.users.len() {
            0 | 1 => limits::THREADS_ALONE,
            _ => limits::THREADS_A_USER,
        }
    }

    fn stand_in_line(&mut self, user: &UserId) {
        let most = self.most();
        if let Some(lane) = self.users.get_mut(user)
            && !lane.is_next
            && lane.running < most
            && !lane.waiting.is_empty()
        {
            lane.is_next = true;
            self.next.push_back(*user);
        }
    }

    /// A thread has done something of this user's; what it does next.
    fn done(&mut self, user: &UserId) -> Option<(UserId, Arc<dyn Job>)> {
        if let Some(lane) = self.users.get_mut(user) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                self.users.remove(user);
            }
        }
        self.stand_in_line(user);
        while let Some(user) = self.next.pop_front() {
            let Some(lane) = self.users.get_mut(&user) else {
                continue;
            };
            lane.is_next = false;
            if let Some(job) = lane.waiting.pop_front() {
                lane.running += 1;
                self.stand_in_line(&user);
                return Some((user, job));
            }
        }
        self.running -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    /// Work that lasts until it is told to end.
    fn slow(threads: &Arc<Threads>, number: u8) -> mpsc::Sender<()> {
        let (end, ends) = mpsc::channel::<()>();
        let threads = Arc::clone(threads);
        tokio::spawn(async move {
            let work = move || {
                let _ = ends.recv();
            };
            let _ = threads.begin(&user(number), work).outcome().await;
        });
        end
    }

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_user_with_many_slow_requests_leaves_threads_to_others() {
        let threads = Arc::<Threads>::default();
        let slow: Vec<_> = (0..300).map(|_| slow(&threads, 1)).collect();
        settle().await;
        assert_eq!(threads.lock().running, limits::THREADS_ALONE);
        let began = Instant::now();
        for number in 2..200 {
            let quick = threads.begin(&user(number), move || number);
            assert_eq!(quick.outcome().await, Ok(number));
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(slow);
    }

    /// However many users fill the pool, the next one has the next thread that comes free.
    #[tokio::test]
    async fn those_who_wait_have_their_turns_user_by_user() {
        let threads = Arc::<Threads>::default();
        let mut slow: Vec<_> = (0..300)
            .map(|number| slow(&threads, number as u8 % 10))
            .collect();
        settle().await;
        assert_eq!(threads.lock().running, limits::BLOCKING_THREADS);
        let quick = tokio::spawn(threads.begin(&user(77), || 77).outcome());
        settle().await;
        assert!(!quick.is_finished());
        // Each of the ten has one turn at most before it.
        for end in slow.drain(..11) {
            drop(end);
        }
        assert_eq!(quick.await.unwrap(), Ok(77));
        drop(slow);
    }

    #[tokio::test]
    async fn what_finds_no_thread_in_time_is_dropped_undone() {
        let threads = Arc::<Threads>::default();
        let slow: Vec<_> = (0..300).map(|_| slow(&threads, 1)).collect();
        settle().await;
        let (held, is_dropped) = mpsc::channel::<()>();
        let mut late = threads.begin(&user(1), move || drop(held));
        late.waiting.as_mut().unwrap().until = Instant::now();
        assert_eq!(late.outcome().await, Err(NoOutcome::Busy));
        assert_eq!(is_dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        drop(slow);
    }

    #[tokio::test]
    async fn a_panic_costs_no_thread() {
        let threads = Arc::<Threads>::default();
        for _ in 0..2 * limits::BLOCKING_THREADS {
            let work = || panic!("on purpose");
            let outcome: Result<(), _> = threads.begin(&user(1), work).outcome().await;
            assert_eq!(outcome, Err(NoOutcome::BrokeOff));
        }
        while threads.lock().running > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(threads.lock().users.is_empty());
        assert_eq!(threads.begin(&user(1), || 1).outcome().await, Ok(1));
    }
}
