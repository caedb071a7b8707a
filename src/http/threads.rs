//! Threads for waiting on the disk, shared fairly between users.
//!
//! Each thread that serves has a pool of them. Of a pool one user gets a part at a time; a task beyond it
//! waits here, without a thread, and the users who wait take turns. So a user with many slow requests under
//! way makes nobody else wait for more than the end of one.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::model::{UserId, limits};

thread_local! {
    /// The pool of this thread that serves.
    static THREADS: Arc<Threads> = Arc::default();
}

/// The reason for which a task has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOutcome {
    /// No thread was to be had in time; nothing was done.
    Busy,
    /// The work panicked.
    BrokeOff,
}

/// Has work of this user's done on a thread, from now on. Costs two allocations, and a thread's waking.
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

/// A task that waits for a thread, and how long it may.
struct Waiting {
    task: Arc<dyn Task>,
    until: Instant,
}

impl<T> Begun<T> {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// `Busy` where the work had no thread within [`limits::THREAD_WAIT`]; `BrokeOff` where it panicked.
    pub async fn outcome(mut self) -> Result<T, NoOutcome> {
        let broke_off = |_| NoOutcome::BrokeOff;
        if let Some(waiting) = &self.waiting {
            match timeout_at(waiting.until, &mut self.told).await {
                Ok(outcome) => return outcome.map_err(broke_off),
                Err(_) if waiting.task.forget() => return Err(NoOutcome::Busy),
                Err(_) => {}
            }
        }
        (&mut self.told).await.map_err(broke_off)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.task.forget();
    }
}

/// The users who have a thread or wait for one.
#[derive(Default)]
struct Threads(Mutex<PoolState>);

#[derive(Default)]
struct PoolState {
    running: usize,
    /// The users with something that runs or waits.
    users: HashMap<UserId, UserTasks>,
    /// The users in their turns: each once who has something waiting and may have another thread.
    next: VecDeque<UserId>,
}

/// The tasks of one user.
#[derive(Default)]
struct UserTasks {
    running: usize,
    waiting: VecDeque<Arc<dyn Task>>,
    is_next: bool,
}

/// Work that is done once at the most.
trait Task: Send + Sync {
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

impl<F: FnOnce() -> T + Send, T: Send> Task for Slot<F, T> {
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
        let task: Arc<dyn Task> = Arc::new(Slot(Mutex::new(Some((work, tell)))));
        let waiting = (!self.submit(user, Arc::clone(&task))).then(|| Waiting {
            task,
            until: Instant::now() + limits::THREAD_WAIT,
        });
        Begun { told, waiting }
    }

    /// Begins with a task, or lets it wait; returns whether it began.
    fn submit(self: &Arc<Self>, user: &UserId, task: Arc<dyn Task>) -> bool {
        let mut state = self.lock();
        let most = state.most();
        let is_full = state.running >= limits::BLOCKING_THREADS;
        let theirs = state.users.entry(*user).or_default();
        if is_full || theirs.running >= most {
            theirs.waiting.push_back(task);
            state.stand_in_line(user);
            return false;
        }
        theirs.running += 1;
        state.running += 1;
        drop(state);
        let (threads, user) = (Arc::clone(self), *user);
        tokio::task::spawn_blocking(move || threads.work(user, task));
        true
    }

    /// Does one task after the other, as long as any waits that may begin.
    fn work(&self, mut user: UserId, mut task: Arc<dyn Task>) {
        loop {
            // The panic has been logged, and the end of the sender tells whoever waits for the outcome.
            let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
            drop(task);
            let next = self.lock().done(&user);
            match next {
                Some(next) => (user, task) = next,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock().expect(POISONED)
    }
}

impl PoolState {
    /// The number of threads that one user may have now.
    fn most(&self) -> usize {
        match self.users.len() {
            0 | 1 => limits::THREADS_ALONE,
            _ => limits::THREADS_A_USER,
        }
    }

    fn stand_in_line(&mut self, user: &UserId) {
        let most = self.most();
        if let Some(theirs) = self.users.get_mut(user)
            && !theirs.is_next
            && theirs.running < most
            && !theirs.waiting.is_empty()
        {
            theirs.is_next = true;
            self.next.push_back(*user);
        }
    }

    /// Notes that a thread has done a task of this user's; returns the task that it does next.
    fn done(&mut self, user: &UserId) -> Option<(UserId, Arc<dyn Task>)> {
        if let Some(theirs) = self.users.get_mut(user) {
            theirs.running -= 1;
            if theirs.running == 0 && theirs.waiting.is_empty() {
                self.users.remove(user);
            }
        }
        self.stand_in_line(user);
        while let Some(user) = self.next.pop_front() {
            let Some(theirs) = self.users.get_mut(&user) else {
                continue;
            };
            theirs.is_next = false;
            if let Some(task) = theirs.waiting.pop_front() {
                theirs.running += 1;
                self.stand_in_line(&user);
                return Some((user, task));
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
