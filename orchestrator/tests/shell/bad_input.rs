//! Input that nobody should send: garbage, huge messages, connections that say nothing.

use std::time::Duration;

use rientro_orchestrator::Address;
use rientro_wire::v1;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_stream::StreamExt;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::agent::{Agent, Manner};
use crate::cell::{Cell, until, within};

const GIB: u32 = 1 << 30;
/// Memory that a refused message may take: windows and buffers of a few connections.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

async fn tcp(address: &Address) -> TcpStream {
    let Address::Loopback(address) = address else { panic!("these tests use TCP") };
    within(TcpStream::connect(address)).await.unwrap()
}

/// Memory of this process, in which the orchestrator runs too.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// One header, literal and not indexed (RFC 7541 section 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |t: &str| [vec![u8::try_from(t.len()).unwrap()], t.as_bytes().to_vec()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Calls a method and begins a message of one GiB; sends on until the other side has had enough.
async fn send_a_gib(address: &Address, path: &str) -> u64 {
    let mut stream = tcp(address).await;
    let headers: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| header(name, value))
    .collect();
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(4, 0, 0, &[]));
    begin.extend(frame(1, 4, 1, &headers));
    begin.extend(frame(0, 0, 1, &[&[0], GIB.to_be_bytes().as_slice()].concat()));
    stream.write_all(&begin).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let piece = frame(0, 0, 1, &[b'x'; 16_000]);
    let mut sent = 0;
    let ended = async {
        // Frames of the answer, until one ends the stream or resets it.
        loop {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return;
            }
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; len];
            if read.read_exact(&mut payload).await.is_err() {
                return;
            }
            let ends = head[3] == 3 || head[3] == 7 || (head[3] < 2 && head[4] & 1 == 1);
            if ends && (head[8] == 1 || head[3] == 7) {
                return;
            }
        }
    };
    let sending = async {
        while sent < u64::from(GIB) && write.write_all(&piece).await.is_ok() {
            sent += piece.len() as u64;
        }
        std::future::pending::<()>().await;
    };
    within(async {
        tokio::select! {
            () = ended => {}
            () = sending => {}
        }
    })
    .await;
    sent
}

async fn still_works(cell: &Cell) {
    let view = cell.operator().await.cell().await.unwrap();
    assert!(view.trouble.is_none());
    Agent::connect(cell.address(), "n1", Manner::Slow).await;
}

/// A message of one GiB is refused from its length alone: little of it is read, and nothing kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_one_gib_is_refused_and_takes_no_memory() {
    let cell = Cell::start().await;
    still_works(&cell).await;
    let before = resident_bytes();
    for path in [
        "/rientro.v1.OperatorService/Act",
        "/rientro.v1.AgentService/Session",
        "/rientro.v1.AgentService/ReportInventory",
    ] {
        let sent = send_a_gib(cell.address(), path).await;
        assert!(sent < GROWTH_BYTES_MAX, "{path}: {sent} bytes were taken before it was refused");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    still_works(&cell).await;
}

/// A request above the bound that is sent whole is refused with a status that says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_above_its_bound_is_refused_with_its_length() {
    let cell = Cell::start().await;
    let operator = cell.operator().await;
    let request = v1::ActRequest { actor: "x".repeat(2 << 20), verb: None, dry_run: false };
    let refused = within(operator.client.clone().act(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let request = v1::ActRequest { actor: "x".repeat(200), verb: None, dry_run: false };
    let refused = within(operator.client.clone().act(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().starts_with("actor"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_connection_and_nothing_else() {
    let cell = Cell::start().await;
    for seed in 0..20_u8 {
        answer_to_garbage(tcp(cell.address()).await, seed).await;
    }
    still_works(&cell).await;
}

fn garbage(seed: u8) -> Vec<u8> {
    (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect()
}

/// Sends garbage; what is answered before the connection is closed.
async fn answer_to_garbage<S: AsyncRead + AsyncWrite>(stream: S, seed: u8) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    // The other side may close before all of it is written, or reset.
    let _closed = write.write_all(&garbage(seed)).await;
    let _reset = within(read.read_to_end(&mut answer)).await;
    answer
}

/// Garbage where HTTP/1 or a Unix socket is spoken: the connection is closed, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_metrics_and_on_a_unix_socket_ends_its_connection_and_nothing_else() {
    let cell = Cell::start().await;
    let socket = cell.running.sockets().remove(0);
    for seed in 0..20 {
        let answer = answer_to_garbage(tcp(cell.metrics()).await, seed).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
        answer_to_garbage(within(UnixStream::connect(&socket)).await.unwrap(), seed).await;
    }
    // A request that HTTP/1 knows and the listener does not.
    let mut stream = tcp(cell.metrics()).await;
    stream.write_all(b"DELETE /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 405"), "{}", String::from_utf8_lossy(&answer));
    still_works(&cell).await;
    assert!(crate::journal_calls::scrape(cell.metrics()).await.contains("rientro_"));
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let mut client =
        v1::operator_service_client::OperatorServiceClient::new(channel.connect().await.unwrap());
    within(client.get_cell(v1::GetCellRequest {})).await.unwrap();
}

/// Sends a message of another kind, as one message or as a stream of one; what is told of it.
async fn refusal(channel: &Channel, path: &'static str, streams: bool) -> Status {
    // Its first field is a number; that of every message which is expected is not.
    let message = v1::TailJournalRequest { from_seq: 5, follow: true };
    let codec = ProstCodec::<v1::TailJournalRequest, v1::ActResponse>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    if !streams {
        return within(grpc.unary(Request::new(message), path, codec)).await.unwrap_err();
    }
    // The call stays open, as that of an agent does.
    let messages = tokio_stream::iter([message]).chain(tokio_stream::pending());
    match within(grpc.streaming(Request::new(messages), path, codec)).await {
        Err(status) => status,
        Ok(answers) => within(answers.into_inner().message()).await.unwrap_err(),
    }
}

/// A whole frame with a message in it that is none: the call is refused with what is wrong, and the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_decoded_is_refused_and_ends_nothing_else() {
    let cell = Cell::start().await;
    let channel = crate::agent::channel(cell.address()).await;
    for (path, streams) in [
        ("/rientro.v1.OperatorService/Act", false),
        ("/rientro.v1.OperatorService/GetCampaign", false),
        ("/rientro.v1.OperatorService/StreamFindings", true),
        ("/rientro.v1.AgentService/ReportInventory", true),
        ("/rientro.v1.AgentService/ReportMailboxes", true),
        ("/rientro.v1.AgentService/UploadFindings", true),
    ] {
        let refused = refusal(&channel, path, streams).await;
        assert_eq!(refused.code(), Code::Internal, "{path}: {refused}");
        assert!(refused.message().contains("failed to decode Protobuf message"), "{path}: {refused}");
    }
    still_works(&cell).await;
}

/// Connections that say nothing are closed after a while; until then they hold up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_closed_and_hold_up_nobody() {
    let cell = Cell::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tcp(cell.address()).await);
    }
    still_works(&cell).await;
    for mut stream in silent {
        // What HTTP/2 begins with, and then the end; or a reset.
        let mut told = Vec::new();
        let _reset = within(stream.read_to_end(&mut told)).await;
    }
}

/// An agent that stops speaking is found silent and its session ended, though its connection stays open.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_heartbeats_is_ended() {
    let cell = Cell::start().await;
    let channel = crate::agent::channel(cell.address()).await;
    let first = [
        rientro_wire::session::AgentMessage::Hello(crate::agent::hello("n1", 1)),
        rientro_wire::session::AgentMessage::HelloDone,
    ];
    let (_say, mut answers) = crate::agent::open(&channel, first.map(Into::into).to_vec()).await.unwrap();
    let end = within(async {
        loop {
            if let Err(status) = answers.message().await {
                return status;
            }
        }
    });
    let end = end.await;
    assert!(end.message().contains("nothing was heard"), "{end}");
    let operator = cell.operator().await;
    let gone = |cell: &Result<v1::GetCellResponse, _>| {
        cell.as_ref().is_ok_and(|cell| cell.cell.as_ref().is_some_and(|view| view.nodes_connected == 0))
    };
    until(|| operator.cell(), gone).await.unwrap();
    assert!(Duration::from(rientro_orchestrator::SESSION_SILENCE) < Duration::from_secs(30));
}
