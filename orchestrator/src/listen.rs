//! Sockets: where the orchestrator listens, and how many and how idle its connections may be.
//!
//! Without TLS only loopback addresses and Unix sockets are accepted. Each listener has a share of the process's file
//! descriptors and refuses what is above it at once, so that a caller is not left to wait and nobody else is shut out. A
//! connection that says nothing is closed, so that idle ones hold nothing for long. What goes wrong for every caller is logged
//! once in a while, with a count.

mod connection;
mod places;
mod trouble;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use connection::{Connection, Peer};
pub use places::{CONNECTIONS_MAX, raise_file_limit};
pub(crate) use places::{Places, Share};
pub(crate) use trouble::Trouble;

use connection::Stream;

/// Waits after failed accepts, which usually mean that this process has no file descriptor left: the first, and the longest.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const ACCEPT_RETRY_MAX: Duration = Duration::from_secs(1);
/// Who may connect to a Unix socket: its owner and group.
pub(crate) const SOCKET_MODE: u32 = 0o660;
/// Who may connect to the one in the state directory, where everything is its owner's alone.
pub(crate) const OWN_SOCKET_MODE: u32 = 0o600;

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

impl Address {
    /// What is in the way of a socket at this path and is none, in words. A link to one is in the way like any other: binding
    /// does not follow it.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        let Self::Unix(path) = self else { return None };
        let kind = std::fs::symlink_metadata(path).ok()?.file_type();
        if kind.is_socket() {
            None
        } else if kind.is_dir() {
            Some("a directory")
        } else if kind.is_symlink() {
            Some("a symbolic link")
        } else if kind.is_file() {
            Some("a plain file")
        } else {
            Some("something that is no socket")
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

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A bound listener.
pub(crate) struct Listener {
    address: Address,
    socket: Socket,
    places_max: usize,
    places: Arc<Semaphore>,
    refused: Trouble,
    failed: Trouble,
    /// The next wait after a failed accept.
    retry: Duration,
}

impl Listener {
    /// Binds an address, for so many connections at once. A socket file that nobody listens on is replaced.
    pub(crate) async fn bind(address: &Address, places_max: usize, socket_mode: u32) -> io::Result<Self> {
        let (address, socket) = match address {
            Address::Loopback(socket) => {
                let listener = TcpListener::bind(socket).await?;
                (Address::Loopback(listener.local_addr()?), Socket::Tcp(listener))
            }
            Address::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(socket_mode))?;
                (address.clone(), Socket::Unix(listener))
            }
        };
        let places = Arc::new(Semaphore::new(places_max));
        let (refused, failed) = (Trouble::default(), Trouble::default());
        Ok(Self { address, socket, places_max, places, refused, failed, retry: ACCEPT_RETRY })
    }

    /// Where it listens; the port is the one that was given when any was asked for.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts until stopped.
    pub(crate) fn connections(
        mut self,
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

    async fn accept_all(&mut self, connections: mpsc::Sender<io::Result<Connection>>) {
        loop {
            if let Some(connection) = self.accept_one().await
                && connections.send(Ok(connection)).await.is_err()
            {
                return;
            }
        }
    }

    /// The next connection, unless there is no place for it or accepting fails; waits a little after a failure.
    async fn accept_one(&mut self) -> Option<Connection> {
        match self.accept().await {
            Ok((stream, peer)) => {
                self.retry = ACCEPT_RETRY;
                self.seat(stream, peer)
            }
            Err(error) => {
                if let Some(times) = self.failed.happened() {
                    tracing::warn!(
                        address = %self.address, %error, times,
                        "could not accept a connection; if files are too many, raise the limit of open files (LimitNOFILE= of the service, or ulimit -n)"
                    );
                }
                tokio::time::sleep(self.retry).await;
                self.retry = (self.retry * 2).min(ACCEPT_RETRY_MAX);
                None
            }
        }
    }

    /// Gives a connection a place; without one it is closed.
    fn seat(&mut self, stream: Stream, peer: Peer) -> Option<Connection> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(Connection::new(stream, peer, place));
        }
        if let Some(times) = self.refused.happened() {
            tracing::warn!(
                address = %self.address, open = self.places_max, times,
                "connections closed at once, as no more may be open; idle ones are closed in time, or find out who holds them (ss -tnp, ss -xp)"
            );
        }
        None
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Peer::Loopback))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Peer::Unix { uid }))
            }
        }
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
