//! Connections: accepting, time limits, and an orderly end.
//!
//! Input: a listening socket and the routes. Output: nothing; it ends when it is told to and the requests under way are answered.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A client that has not sent the head of a request by then is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// SageMaker kills a container 30 seconds after it told it to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// Connections at once; more wait in the system's queue.
const MOST: usize = 1024;

/// Serves until `stop` is ready, then answers what is under way, for 25 seconds at most.
pub async fn serve(listener: TcpListener, routes: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST));
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let room = room.clone().acquire_owned().await.ok();
            (listener.accept().await, room)
        };
        let (accepted, room) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => start(stream, routes.clone(), &graceful, room),
            // Out of file descriptors, most likely: others will be closed soon.
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "some requests were not answered within {} s",
            DRAIN.as_secs()
        );
    }
}

fn start(
    stream: TcpStream,
    routes: Router,
    graceful: &GracefulShutdown,
    room: Option<OwnedSemaphorePermit>,
) {
    // Answers are small; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A client that breaks off is no trouble of ours.
        let _ = connection.await;
        drop(room);
    });
}

/// Binds the address.
///
/// # Errors
/// It is taken, or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "cannot listen on {address}: {error}; choose another port with --port (0: any free one)"
        )
    })
}
