//! Work shared out over threads, in bounded memory.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use crate::model::limits;

/// Runs `fill`, which gives out jobs one by one, while `threads` workers do them. Each worker has a
/// buffer of [`limits::PIECE`] bytes. With one thread everything happens in place, in order.
///
/// Ends when all jobs are done. `fill` waits while the workers are behind, so that jobs do not pile up.
pub fn share_out<J: Send, T>(
    threads: usize,
    fill: impl FnOnce(&mut dyn FnMut(J)) -> T,
    work: impl Fn(&mut [u8], J) + Sync,
) -> T {
    let buffer = || vec![0; limits::PIECE];
    if threads <= 1 {
        let mut buffer = buffer();
        return fill(&mut |job| work(&mut buffer, job));
    }
    let (sender, receiver) = sync_channel(limits::FSCK_JOBS);
    // Held by the workers alone, so that the channel breaks when the last of them has gone.
    let receiver = Arc::new(Mutex::new(receiver));
    let work = &work;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let receiver = Arc::clone(&receiver);
            scope.spawn(move || {
                let mut buffer = buffer();
                loop {
                    let job = receiver
                        .lock()
                        .expect("no worker panics while it waits for a job")
                        .recv();
                    match job {
                        Ok(job) => work(&mut buffer, job),
                        Err(_) => return,
                    }
                }
            });
        }
        drop(receiver);
        let result = fill(&mut |job| {
            sender.send(job).expect("a worker is left: none panics");
        });
        drop(sender);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_job_is_done_once() {
        for threads in [1, 4] {
            let sum = AtomicU64::new(0);
            let fill = |give: &mut dyn FnMut(u64)| (1..=10_000).for_each(give);
            share_out(threads, fill, |_, job| {
                sum.fetch_add(job, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 50_005_000);
        }
    }
}
