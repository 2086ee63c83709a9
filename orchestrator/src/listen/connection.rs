//! One accepted connection, which is closed when its peer has nothing to say.
//!
//! Two deadlines, both on what is read. A connection that does not begin to speak is closed soon. One that has begun and then
//! says nothing is closed later: a live peer of HTTP/2 is never silent so long, because it is asked whether it is there and
//! answers, and a reader of metrics that comes back later connects again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tonic::transport::server::Connected;

/// Bytes with which an HTTP/2 connection begins (RFC 9113 section 3.4); a request of HTTP/1 has no fewer.
const OPENING_BYTES: usize = 24;

/// How long a peer may say nothing.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    /// It must have begun to speak within this time.
    opening: Duration,
    /// After that, at a stretch.
    silence: Duration,
}

/// Peers of HTTP/2 are asked whether they are there, and closed without an answer, within half of the silence; scrapers of
/// metrics that come more seldom connect again.
const DEADLINES: Deadlines = Deadlines { opening: Duration::from_secs(10), silence: Duration::from_secs(60) };

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody on this host.
    Loopback,
    /// This user, as the kernel says.
    Unix { uid: u32 },
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted connection. Holds its place until dropped.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    patience: Patience,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        Self { stream, peer, patience: Patience::new(DEADLINES), _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer
    }
}

/// How long the peer may go on saying nothing.
struct Patience {
    deadlines: Deadlines,
    /// What is still to come of the opening.
    opening_bytes: usize,
    /// Nothing can be read, and this is until when it is waited for; moved only when it is reached.
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Patience {
    fn new(deadlines: Deadlines) -> Self {
        let deadline = Instant::now() + deadlines.opening;
        let timer = Box::pin(tokio::time::sleep_until(deadline));
        Self { deadlines, opening_bytes: OPENING_BYTES, timer, deadline }
    }

    /// The peer said something. The opening has one deadline, however slowly it trickles in.
    fn heard(&mut self, bytes: usize) {
        self.opening_bytes = self.opening_bytes.saturating_sub(bytes);
        if self.opening_bytes == 0 {
            self.deadline = Instant::now() + self.deadlines.silence;
        }
    }

    /// Ready when the peer has said nothing for too long.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        match read {
            Poll::Pending => self.patience.poll_over(cx).map(Err),
            Poll::Ready(read) => {
                self.patience.heard(buf.filled().len() - before);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    const SHORT: Deadlines =
        Deadlines { opening: Duration::from_millis(100), silence: Duration::from_millis(400) };

    fn pair(deadlines: Deadlines) -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let connection = Connection::new(Stream::Unix(ours), Peer::Loopback, place);
        (Connection { patience: Patience::new(deadlines), ..connection }, theirs)
    }

    /// Reads until the peer is closed for its silence; how long that took.
    async fn lasts(mut connection: Connection) -> Duration {
        let begun = Instant::now();
        let ended = connection.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_silent_peer_is_closed_and_sooner_when_it_never_began_to_speak() {
        for (bytes, sooner) in [(0, true), (23, true), (24, false), (100, false)] {
            let (connection, mut peer) = pair(SHORT);
            peer.write_all(&vec![b'x'; bytes]).await.unwrap();
            let lasted = lasts(connection).await;
            assert!(lasted >= SHORT.opening && (sooner || lasted >= SHORT.silence), "{bytes}: {lasted:?}");
        }
    }

    /// A byte now and then does not put off the end of the opening; what is said after it puts off the end of the silence.
    #[tokio::test]
    async fn an_opening_that_trickles_in_is_closed_and_a_slow_talker_is_not() {
        let (connection, mut peer) = pair(SHORT);
        let trickle = async {
            for _ in 1..OPENING_BYTES {
                let _closed = peer.write_all(b"x").await;
                tokio::time::sleep(SHORT.opening / 4).await;
            }
        };
        // Cancel-safe: what is cancelled is not used again.
        tokio::select! {
            () = trickle => panic!("the trickle went on to its end"),
            lasted = lasts(connection) => assert!(lasted >= SHORT.opening),
        }

        let patient = Deadlines { silence: Duration::from_secs(60), ..SHORT };
        let (mut connection, mut peer) = pair(patient);
        peer.write_all(&[b'x'; OPENING_BYTES]).await.unwrap();
        let mut said = Vec::new();
        let reading = connection.read_to_end(&mut said);
        assert!(tokio::time::timeout(SHORT.opening * 2, reading).await.is_err(), "it was closed");
    }
}
