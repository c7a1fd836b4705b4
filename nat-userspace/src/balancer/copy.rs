//! Carries bytes between two connections, both ways, as long as there are some.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    time::{Instant, sleep_until},
};

/// Of each way, in bytes.
const BUFFER: usize = 16 * 1024;

/// Why not everything was carried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("one of both sides broke off: {0}")]
    Broken(#[from] io::Error),
    #[error("nothing came or went for {0:?}")]
    Idle(Duration),
}

/// Carries bytes until both sides have ended; one that has is still sent what the other one says.
///
/// # Errors
///
/// One side breaks off, or nothing moves for as long as `idle`.
pub async fn copy<A, B>(one: &mut A, other: &mut B, idle: Duration) -> Result<(), Error>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::new();
    let mut one = Watched::new(one, &activity);
    let mut other = Watched::new(other, &activity);
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut one, &mut other, BUFFER, BUFFER) => {
            copied?;
            Ok(())
        }
        () = activity.ends(idle) => Err(Error::Idle(idle)),
    }
}

/// When something moved last.
struct Activity {
    start: Instant,
    /// In milliseconds since the start.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let since = self.start.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Done as soon as nothing has moved for so long.
    async fn ends(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = self.start + last + idle;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// A connection of which each byte is noted that moves.
struct Watched<'a, Stream> {
    stream: &'a mut Stream,
    activity: &'a Activity,
}

impl<'a, Stream: Unpin> Watched<'a, Stream> {
    const fn new(stream: &'a mut Stream, activity: &'a Activity) -> Self {
        Self { stream, activity }
    }

    fn inner(&mut self) -> Pin<&mut Stream> {
        Pin::new(self.stream)
    }
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Watched<'_, Stream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.inner().poll_read(context, into);
        if into.filled().len() > before {
            self.activity.note();
        }
        read
    }
}

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Watched<'_, Stream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.inner().poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.activity.note();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::JoinHandle,
        time::sleep,
    };

    use super::*;

    const IDLE: Duration = Duration::from_secs(350);

    /// The outer ends, and what carries between the inner ones.
    fn carried() -> (DuplexStream, DuplexStream, JoinHandle<Result<(), Error>>) {
        let (client, mut one) = duplex(64);
        let (mut other, target) = duplex(64);
        let task = tokio::spawn(async move { copy(&mut one, &mut other, IDLE).await });
        (client, target, task)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_after_350_seconds_and_not_before() {
        let (_client, _target, task) = carried();
        let start = Instant::now();
        let ended = task.await.expect("no panic");
        assert!(matches!(ended, Err(Error::Idle(IDLE))));
        let took = start.elapsed();
        assert!(
            took >= IDLE && took < IDLE + Duration::from_secs(1),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_of_either_side_now_and_then_keeps_it() {
        let (mut client, mut target, task) = carried();
        let start = Instant::now();
        for _ in 0..5 {
            sleep(IDLE - Duration::from_secs(1)).await;
            client.write_all(b"x").await.expect("sent");
            assert_eq!(target.read_u8().await.expect("carried"), b'x');
            sleep(IDLE - Duration::from_secs(1)).await;
            target.write_all(b"y").await.expect("sent");
            assert_eq!(client.read_u8().await.expect("carried"), b'y');
        }
        assert!(!task.is_finished());
        assert!(matches!(task.await.expect("no panic"), Err(Error::Idle(_))));
        assert!(start.elapsed() >= 11 * IDLE - Duration::from_secs(11));
    }

    /// There is nothing to read, but what was read goes out slowly.
    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_keeps_it() {
        let (mut client, mut target, task) = carried();
        client.write_all(&[7; 150]).await.expect("buffered");
        // As many as are not in the way to the target at once.
        for _ in 0..150 - 64 {
            sleep(IDLE - Duration::from_secs(1)).await;
            assert_eq!(target.read_u8().await.expect("carried"), 7);
        }
        assert!(!task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_done_when_both_sides_are() {
        let (mut client, mut target, task) = carried();
        client.shutdown().await.expect("half-closed");
        assert_eq!(target.read(&mut [0]).await.expect("the end"), 0);
        sleep(IDLE / 2).await;
        target.write_all(b"y").await.expect("sent");
        assert_eq!(client.read_u8().await.expect("carried"), b'y');
        target.shutdown().await.expect("half-closed");
        assert!(task.await.expect("no panic").is_ok());
    }
}
