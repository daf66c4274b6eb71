//! The body of a request, within its own limit and within what all bodies together may take.
//!
//! Input: a body as it comes. Output: its bytes, and the room they hold until they are dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use tokio::sync::{Semaphore, SemaphorePermit};

/// SageMaker itself gives up after 60 seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a permit.
const UNIT: u64 = 1024;
/// Most memory for bodies.
const MOST: u64 = 512 << 20;

/// A body that came whole.
pub struct Received<'a> {
    pub bytes: Vec<u8>,
    pub room: Option<SemaphorePermit<'a>>,
}

/// Why a body did not.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request is larger than {} MB", limit >> 20)]
    TooLarge { limit: usize },
    #[error("the body did not come within {} s", TIMEOUT.as_secs())]
    Late,
    #[error("too many requests at once; try again in a moment")]
    NoRoom,
    #[error("the body broke off: {0}")]
    Broken(#[from] axum::Error),
}

/// Room for all bodies together: a quarter of the memory that is free, 512 MB at most, and at least the largest body twice.
pub fn room(largest: usize) -> Semaphore {
    let free = crate::memory::available_bytes().unwrap_or(u64::MAX);
    let bytes = (free / 4).min(MOST).max(2 * largest as u64);
    Semaphore::new((bytes / UNIT) as usize)
}

/// Reads a body of at most `limit` bytes. Room is taken for what has come, not for what is announced: a client that announces
/// much and sends nothing keeps nobody out.
///
/// # Errors
/// [`BodyError`].
pub async fn receive(
    body: Body,
    limit: usize,
    room: &Semaphore,
) -> Result<Received<'_>, BodyError> {
    let received = tokio::time::timeout(TIMEOUT, read(body, limit, room)).await;
    received.map_err(|_| BodyError::Late)?
}

/// What is too much is read and thrown away, up to four times the limit: most clients look at the answer only after they have sent
/// everything.
async fn read(mut body: Body, limit: usize, room: &Semaphore) -> Result<Received<'_>, BodyError> {
    let (mut bytes, mut held) = (Vec::new(), None::<SemaphorePermit>);
    let mut received = 0;
    while received <= 4 * limit {
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = next else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        received += data.len();
        if received > limit {
            (bytes, held) = (Vec::new(), None);
            continue;
        }
        let units = (received as u64).div_ceil(UNIT) as usize;
        let missing = units - held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = room.try_acquire_many(missing as u32);
        let more = more.map_err(|_| BodyError::NoRoom)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    match received <= limit {
        true => Ok(Received { bytes, room: held }),
        false => Err(BodyError::TooLarge { limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_hold_room_as_long_as_they_live() {
        let room = Semaphore::new(10);
        let body = |bytes: usize| Body::from(vec![7; bytes]);
        let first = receive(body(5000), 8000, &room).await.unwrap();
        assert_eq!((first.bytes.len(), room.available_permits()), (5000, 5));
        assert!(matches!(
            receive(body(6000), 8000, &room).await,
            Err(BodyError::NoRoom)
        ));
        assert_eq!(room.available_permits(), 5);
        drop(first);
        let second = receive(body(6000), 8000, &room).await.unwrap();
        assert_eq!(room.available_permits(), 4);
        drop(second);
        assert!(matches!(
            receive(body(8001), 8000, &room).await,
            Err(BodyError::TooLarge { limit: 8000 })
        ));
        let empty = receive(Body::empty(), 8000, &room).await.unwrap();
        assert!(empty.bytes.is_empty());
        assert_eq!(room.available_permits(), 10);
    }
}
