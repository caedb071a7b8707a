//! The last try to write the data directory, for those who ask whether that works.

use std::time::Instant;

use tokio::sync::Mutex;

use super::answer::problem::Problem;
use crate::model::limits;

/// The last try to write the data directory, and when it was.
#[derive(Default)]
pub struct Pulse(Mutex<Option<(Instant, Result<(), Problem>)>>);

impl Pulse {
    /// The outcome of a try, which is made anew where the last one is older than [`limits::PULSE`]. All who ask at a time
    /// share one.
    ///
    /// # Errors
    /// Those of the try.
    pub async fn take(
        &self,
        try_once: impl Future<Output = Result<(), Problem>>,
    ) -> Result<(), Problem> {
        let mut last = self.0.lock().await;
        if let Some((when, outcome)) = &*last
            && when.elapsed() < limits::PULSE
        {
            return outcome.clone();
        }
        let outcome = try_once.await;
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn all_who_ask_within_a_second_share_one_try() {
        let (pulse, tries) = (Pulse::default(), Cell::new(0));
        let ask = || {
            pulse.take(async {
                tries.set(tries.get() + 1);
                Err(Problem::internal())
            })
        };
        for _ in 0..3 {
            assert!(ask().await.is_err());
        }
        assert_eq!(tries.get(), 1);
        tokio::time::sleep(limits::PULSE).await;
        assert!(ask().await.is_err());
        assert_eq!(tries.get(), 2);
    }
}
