//! The signals that `serve` takes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use futures_util::future::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::logging::ProcessLog;
use crate::model::limits;

/// Takes SIGHUP, which would end the process, from now on: it asks for a look at the certificates, where there are any.
pub fn outlive_hangups(renewal: Option<SyncSender<()>>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    actix_web::rt::spawn(async move {
        while hangup.recv().await.is_some() {
            match &renewal {
                None => log::info!("SIGHUP: there is nothing to do, and it goes on"),
                // A look that is asked for already is as good.
                Some(renewal) => drop(renewal.try_send(())),
            }
        }
    });
    Ok(())
}

/// Done at the first SIGTERM or SIGINT. Another one within [`limits::SAME_SIGNAL`] is the same; a later one
/// ends the process at once.
pub fn stop_signals(log: ProcessLog) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        log::info!("stopping: what is in flight may end");
        let first = Instant::now();
        actix_web::rt::spawn(async move {
            while first.elapsed() < limits::SAME_SIGNAL {
                either(&mut terminate, &mut interrupt).await;
            }
            log::warn!("stopped at once");
            log.flush();
            std::process::exit(1);
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    select(pin!(one.recv()), pin!(other.recv())).await;
}
