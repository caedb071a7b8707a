//! The copy, served on loopback by this process for as long as the drill takes.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::cli::failure::Failure;
use crate::http::{Listener, Places, Server, ServerOptions, Settings, Site};
use crate::model::limits;
use crate::store::Store;

/// A server that runs on a thread of its own, and ends with the process at the latest.
pub struct Served {
    /// The address that it listens at.
    pub address: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Served {
    /// Starts the server, at a port that the system chooses.
    pub fn start(store: Store) -> Result<Self, Failure> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let run = move || {
            actix_web::rt::System::new().block_on(async move {
                let site = Arc::new(Site::new(store, Settings::default()));
                let places = Places {
                    listeners: vec![Listener::Tcp("127.0.0.1:0".to_owned())],
                    ..Places::default()
                };
                let options = ServerOptions {
                    workers: 1,
                    connections: limits::DRILL_CONNECTIONS,
                    head_timeout: limits::DRILL_PATIENCE,
                    taking_timeout: limits::DRILL_PATIENCE,
                    shutdown: limits::DRILL_PATIENCE,
                };
                let stopped = async move {
                    // Whoever drops the other end wants it to stop as well.
                    let _ = stopped.await;
                };
                match Server::bind(&site, places, &options, stopped).await {
                    Ok(server) => {
                        let _ = tell.send(Ok(server.addresses().concat()));
                        if let Err(error) = server.run().await {
                            log::warn!("the server of the drill failed: {error}");
                        }
                    }
                    Err((_, error)) => {
                        let _ = tell.send(Err(error.to_string()));
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().spawn(run);
        let thread =
            thread.map_err(|error| Failure::could_not_check(format!("no thread: {error}")))?;
        let address = match told.recv() {
            Ok(Ok(address)) => address,
            Ok(Err(why)) => return Err(Failure::failed(format!("the copy is not served: {why}"))),
            Err(_) => return Err(Failure::failed("the server of the drill ended at once")),
        };
        let address = address.trim_start_matches("http://").to_owned();
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    /// Stops it, and waits for its end.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}
