//! The addresses that a server leaves in `DATA/serving` for as long as it serves.

use super::heartbeat::server_address;
use crate::model::limits;
use crate::store::{Result, Store};

/// A server's addresses in `serving`. Dropped, they go.
pub struct Serving {
    store: Store,
    addresses: Vec<String>,
}

impl Serving {
    /// Leaves these addresses, at which this process listens. Those go that another server has left and does not serve at
    /// any more, since it was killed. A directory that takes none is no reason not to serve. Costs a request to each other
    /// server, and waits no longer than [`limits::SERVING_WAIT`] for each.
    pub fn enter(store: &Store, addresses: &[String]) -> Self {
        let serving = Self {
            store: store.clone(),
            addresses: addresses.to_vec(),
        };
        let gone = store.serving().map(|lines| serving.gone(lines));
        let entered = gone.and_then(|gone| {
            store.change_serving(|lines| {
                lines.retain(|line| !gone.contains(line));
                lines.extend_from_slice(addresses);
            })
        });
        tell(entered);
        serving
    }

    /// The lines at which nobody else serves this store.
    fn gone(&self, lines: Vec<String>) -> Vec<String> {
        let is_ours = |line: &String| self.addresses.contains(line);
        let gone = |line: &String| is_ours(line) || is_gone(&self.store, line);
        lines.into_iter().filter(gone).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let left = (self.store)
            .change_serving(|lines| lines.retain(|line| !self.addresses.contains(line)));
        tell(left);
    }
}

/// Whether nobody serves this store there any more: no address, nobody, or somebody else. Whoever is merely slow serves.
fn is_gone(store: &Store, line: &str) -> bool {
    let Ok(address) = server_address(line) else {
        return true;
    };
    match address.ask(limits::SERVING_WAIT) {
        Ok(answer) => answer.status == 200 && answer.mark != store.mark(),
        Err(error) => error.kind() != std::io::ErrorKind::TimedOut,
    }
}

fn tell(changed: Result<()>) {
    if let Err(error) = changed {
        log::warn!("`health` may not find this server, or one that is gone: {error}");
    }
}

/// Sweeps what crashes left at the top, and looks whose the folders are, beside the serving.
pub fn clear_in_background(store: &Store) {
    let store = store.clone();
    std::thread::spawn(move || {
        if let Err(error) = store.clear_top() {
            log::warn!("leftovers stay: {error}");
        }
        store.look_over();
    });
}
