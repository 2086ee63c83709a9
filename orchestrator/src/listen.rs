//! Sockets: where the orchestrator listens, and how many and how idle its connections may be.
//!
//! Without TLS only loopback addresses and Unix sockets are accepted. A connection that does not begin to speak is closed,
//! so that half-open ones hold nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

/// Most connections of one listener: two for each of the most sessions.
pub const CONNECTIONS_MAX: usize = 8_192;
/// A connection must have begun to speak within this time.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// Bytes with which an HTTP/2 connection begins (RFC 9113 section 3.4); a request of HTTP/1 has no fewer.
const OPENING_BYTES: usize = 24;
/// Wait after a failed accept, which usually means that this process has no file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Who may connect to a Unix socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A TCP port of this host alone.
    Loopback(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is neither form.
    #[error("{0:?} is not an address; write 127.0.0.1:7400, [::1]:7400 or unix:/path/to/socket")]
    Unreadable(String),
    /// Others could reach it.
    #[error(
        "{0} can be reached from other hosts, and connections are not encrypted; listen on 127.0.0.1, [::1] or a Unix socket"
    )]
    NotLoopback(SocketAddr),
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let unreadable = || AddressError::Unreadable(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return if path.is_empty() { Err(unreadable()) } else { Ok(Self::Unix(path.into())) };
        }
        let address: SocketAddr = text.parse().map_err(|_| unreadable())?;
        if address.ip().is_loopback() {
            Ok(Self::Loopback(address))
        } else {
            Err(AddressError::NotLoopback(address))
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody on this host.
    Loopback,
    /// This user, as the kernel says.
    Unix { uid: u32 },
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A bound listener.
pub(crate) struct Listener {
    address: Address,
    socket: Socket,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Binds an address. A socket file that nobody listens on is replaced.
    pub(crate) async fn bind(address: &Address) -> io::Result<Self> {
        let (address, socket) = match address {
            Address::Loopback(socket) => {
                let listener = TcpListener::bind(socket).await?;
                (Address::Loopback(listener.local_addr()?), Socket::Tcp(listener))
            }
            Address::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
                (address.clone(), Socket::Unix(listener))
            }
        };
        Ok(Self { address, socket, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) })
    }

    /// Where it listens; the port is the one that was given when any was asked for.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts until stopped.
    pub(crate) fn connections(
        self,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> ReceiverStream<io::Result<Connection>> {
        let (connections_in, connections) = mpsc::channel(1);
        tracker.spawn(async move {
            // Cancel-safe: a connection that was accepted and not handed on is closed.
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.accept_all(connections_in) => {}
            }
            self.remove_socket();
        });
        ReceiverStream::new(connections)
    }

    async fn accept_all(&self, connections: mpsc::Sender<io::Result<Connection>>) {
        loop {
            if let Some(connection) = self.accept_one().await
                && connections.send(Ok(connection)).await.is_err()
            {
                return;
            }
        }
    }

    /// The next connection, unless there is no place for it or accepting fails; waits a little after a failure.
    async fn accept_one(&self) -> Option<Connection> {
        match self.accept().await {
            Ok(Some(connection)) => return Some(connection),
            Ok(None) => tracing::warn!(address = %self.address, "connection closed: too many are open"),
            Err(error) => {
                tracing::warn!(address = %self.address, %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
        None
    }

    /// The next connection; nothing when there is no place for it, and it was closed.
    async fn accept(&self) -> io::Result<Option<Connection>> {
        let (stream, peer) = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                (Stream::Tcp(stream), Peer::Loopback)
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                (Stream::Unix(stream), Peer::Unix { uid })
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Ok(None) };
        let opening = Some(Opening { bytes: 0, deadline: Box::pin(tokio::time::sleep(OPENING_TIME)) });
        Ok(Some(Connection { stream, peer, opening, _place: place }))
    }

    fn remove_socket(&self) {
        if let Address::Unix(path) = &self.address
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), %error, "socket file not removed");
        }
    }
}

/// Removes a socket file that a killed process left behind. Anything else is left, and binding fails.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if found.file_type().is_socket() && UnixStream::connect(path).await.is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Address;

    async fn accept(&mut self) -> (Connection, Address) {
        loop {
            if let Some(connection) = self.accept_one().await {
                return (connection, self.address.clone());
            }
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Opening {
    bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

/// An accepted connection.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    opening: Option<Opening>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(opening) = &mut this.opening {
            if read.is_pending() {
                ready!(opening.deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            opening.bytes += buf.filled().len() - before;
            if opening.bytes >= OPENING_BYTES {
                this.opening = None;
            }
        }
        read
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

    #[test]
    fn only_this_host_can_be_listened_to() {
        assert_eq!("127.0.0.1:7400".parse(), Ok(Address::Loopback(([127, 0, 0, 1], 7400).into())));
        assert_eq!("unix:/run/r.sock".parse(), Ok(Address::Unix("/run/r.sock".into())));
        let open = "0.0.0.0:7400".parse::<Address>().unwrap_err();
        assert!(matches!(open, AddressError::NotLoopback(_)) && open.to_string().contains("other hosts"));
        assert!(matches!("10.0.0.1:1".parse::<Address>(), Err(AddressError::NotLoopback(_))));
        assert!(matches!("here".parse::<Address>(), Err(AddressError::Unreadable(_))));
        assert!(matches!("unix:".parse::<Address>(), Err(AddressError::Unreadable(_))));
    }
}
