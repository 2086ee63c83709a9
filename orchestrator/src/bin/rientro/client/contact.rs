//! First contact: is a Rientro orchestrator there, and does it answer?
//!
//! A port that takes connections may be a process that is stopped, the metrics, another kind of server. So nothing is asked of
//! it before it has said, over gRPC's own health service, that it serves operators; and when it cannot say that, what it sends
//! decides what is told about it.

use std::time::Duration;

use rientro_wire::limits::HEALTH_BYTES_MAX;
use rientro_wire::v1::agent_service_server;
use rientro_wire::v1::operator_service_server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::failure::Failure;

/// Longest wait for a connection and for the first answer on it, each: a listener on this host answers at once or not at all.
pub(super) const CONTACT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest look at who is there after a connection has been lost: it had time to answer already.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How HTTP/2 begins (RFC 9113 section 3.4), with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What every frame of HTTP/2 begins with, the kind being its fourth byte.
const FRAME_HEADER_BYTES: usize = 9;
/// The first frame that a server of HTTP/2 sends.
const SETTINGS: u8 = 4;

/// Connects, and makes sure of who is there.
pub(super) async fn make(endpoint: &str, target: &Endpoint) -> Result<Channel, Failure> {
    let channel = target.connect().await.map_err(|error| Failure::Unreachable {
        endpoint: endpoint.to_owned(),
        problem: innermost(&error),
    })?;
    let operators = serves(&channel, operator_service_server::SERVICE_NAME);
    let Ok(answer) = timeout(CONTACT_TIMEOUT, operators).await else {
        return Err(Failure::Silent { endpoint: endpoint.to_owned(), waited: CONTACT_TIMEOUT });
    };
    match answer {
        Ok(true) => Ok(channel),
        Ok(false) => Err(foreign(endpoint, "it says of itself that it does not serve them")),
        Err(status) => Err(explain(endpoint, &channel, &status).await),
    }
}

/// Whether the other side says that it serves this.
async fn serves(channel: &Channel, service: &str) -> Result<bool, Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut health = HealthClient::new(channel.clone())
        .max_encoding_message_size(HEALTH_BYTES_MAX)
        .max_decoding_message_size(HEALTH_BYTES_MAX);
    let answer = health.check(request).await?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}

/// What is there, when it is not an orchestrator that serves operators.
async fn explain(endpoint: &str, channel: &Channel, status: &Status) -> Failure {
    if is_broken(status) {
        return lost(endpoint, status, CONTACT_TIMEOUT).await;
    }
    match status.code() {
        Code::NotFound => {
            let agents = serves(channel, agent_service_server::SERVICE_NAME);
            match timeout(CONTACT_TIMEOUT, agents).await {
                Ok(Ok(true)) => foreign(endpoint, "it is an orchestrator's address for agents"),
                Ok(_) | Err(_) => foreign(endpoint, "it is another gRPC server"),
            }
        }
        Code::Unimplemented
        | Code::Unknown
        | Code::Internal
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::Unauthenticated => foreign(endpoint, "it is a web server, or another gRPC server"),
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss => Failure::of_status(endpoint, status),
    }
}

/// Whether a status was made on this side, of a connection that broke.
pub(super) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// What to tell of a broken connection, on which nothing was heard for some time: whoever is there is greeted anew.
pub(super) async fn lost(endpoint: &str, status: &Status, unheard: Duration) -> Failure {
    let unreachable = |problem: String| Failure::Unreachable { endpoint: endpoint.to_owned(), problem };
    match timeout(LOOK_TIMEOUT, first_words(endpoint)).await {
        Ok(Words::Nobody(error)) => unreachable(error.to_string()),
        Ok(Words::Closed) => unreachable(
            "it closes connections at once; it is stopping, or has as many as it may have".to_owned(),
        ),
        Ok(Words::Other) => foreign(endpoint, "it does not speak HTTP/2"),
        Ok(Words::Http2) => Failure::of_status(endpoint, status),
        Err(_) => Failure::Silent { endpoint: endpoint.to_owned(), waited: unheard + LOOK_TIMEOUT },
    }
}

fn foreign(endpoint: &str, found: &'static str) -> Failure {
    Failure::Foreign { endpoint: endpoint.to_owned(), found }
}

/// What a peer says first when it is greeted in HTTP/2.
enum Words {
    /// What HTTP/2 asks for.
    Http2,
    /// Something else.
    Other,
    /// Nothing: it ends the connection.
    Closed,
    /// There is no connection.
    Nobody(std::io::Error),
}

/// Greets the endpoint over a connection of its own.
async fn first_words(endpoint: &str) -> Words {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        words(UnixStream::connect(path).await).await
    } else {
        let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
        words(TcpStream::connect(host).await).await
    }
}

async fn words(stream: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>) -> Words {
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return Words::Nobody(error),
    };
    // One that closes before it is greeted says no more than one that closes after it.
    let _closed = stream.write_all(PREFACE).await;
    let mut said = Vec::new();
    let _reset = stream.take(FRAME_HEADER_BYTES as u64).read_to_end(&mut said).await;
    match said.get(3) {
        None if said.is_empty() => Words::Closed,
        Some(&SETTINGS) => Words::Http2,
        Some(_) | None => Words::Other,
    }
}

/// What the system said: the last of a chain of errors.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
