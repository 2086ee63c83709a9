//! More connections than there is room for, as a real process meets them: nobody who works is cut off, and nobody who has to
//! look is locked out.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rientro_orchestrator::{Address, raise_file_limit};
use rientro_wire::v1;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::{Agent, Manner, channel};
use crate::cell::{Operator, until, within};
use crate::process::Process;

/// Files that the orchestrator of these tests may have open.
const FILES: u32 = 256;
/// Connections that do nothing: many times as many.
const IDLERS: usize = 2_000;
/// How HTTP/2 begins (RFC 9113 section 3.4), with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connects so many; one of each `speaks` begins to speak, and then is as silent as the others.
async fn idlers(address: &Address, count: usize, speaks: usize) -> Vec<TcpStream> {
    let Address::Loopback(address) = address else { panic!("these tests use TCP") };
    let mut idlers = Vec::new();
    for number in 0..count {
        let mut stream = within(TcpStream::connect(address)).await.unwrap();
        if number % speaks == speaks - 1 {
            // It may be closed already.
            let _closed = stream.write_all(PREFACE).await;
        }
        idlers.push(stream);
    }
    idlers
}

async fn closed(idlers: Vec<TcpStream>) {
    for mut stream in idlers {
        // To its end, or to its reset.
        let _reset = within(stream.read_to_end(&mut Vec::new())).await;
    }
}

/// What `rientro cell show` says to somebody who only tells it where the state directory is.
fn shown(folder: &Path) -> serde_json::Value {
    let mut rientro = Command::new(env!("CARGO_BIN_EXE_rientro"));
    let output = rientro
        .env_remove("RIENTRO_ENDPOINT")
        .env("RIENTRO_STATE_DIR", folder.join("state"))
        .args(["-o", "json", "cell", "show"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{:?}", String::from_utf8(output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn warnings(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect()
}

/// Idle connections fill every TCP listener of a process with few files: operators get in by their own socket, agents stay,
/// the log does not fill, and when the idle ones are gone (closed by their deadlines, not by leaving) all is as before.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_lock_out_no_operator_and_cut_off_no_agent() {
    raise_file_limit();
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start_with_files(FILES, folder.path());
    let operator = process.operator().await;
    let agents = [
        Agent::connect(&process.address, "n1", Manner::Diligent).await,
        Agent::connect(&process.address, "n2", Manner::Diligent).await,
    ];
    let mut idle = idlers(&process.address, IDLERS, 8).await;
    idle.extend(idlers(&process.metrics, IDLERS / 8, IDLERS).await);

    assert_eq!(shown(folder.path())["nodes_connected"], 2);
    assert_eq!(operator.cell().await.unwrap().cell.unwrap().nodes_connected, 2);

    closed(idle).await;
    let late = within(Operator::connect(&process.address)).await;
    assert_eq!(late.cell().await.unwrap().cell.unwrap().nodes_connected, 2);
    for agent in &agents {
        assert!(agent.heard.borrow().end.is_none(), "its session was cut");
    }
    let log = process.terminate();
    let refused = |line: &&&String| line.contains("connections closed at once");
    let warnings = warnings(&log);
    assert!(warnings.iter().filter(refused).count() >= 2, "one for each full listener: {log:#?}");
    assert!(warnings.len() <= 8, "{} warnings: {warnings:#?}", warnings.len());
}

/// No file descriptor is left at all: said once, with what to do; and when there are some again, everybody gets in.
#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_the_log_does_not_fill_and_callers_get_in_later() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    // As many as any process has: whatever is opened next is one too many.
    let limit = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let before = prlimit(Some(process.pid()), Resource::Nofile, limit).unwrap();
    let waiting = channel(&process.address).await;
    let mut client = v1::operator_service_client::OperatorServiceClient::new(waiting.clone());
    let asked = client.get_cell(v1::GetCellRequest {});
    // Long enough for dozens of tries, if nothing held them back.
    assert!(
        tokio::time::timeout(Duration::from_secs(3), asked).await.is_err(),
        "it was served without a file"
    );
    prlimit(Some(process.pid()), Resource::Nofile, before).unwrap();
    let operator = Operator { client: v1::operator_service_client::OperatorServiceClient::new(waiting) };
    until(|| operator.cell(), Result::is_ok).await.unwrap();
    let log = process.terminate();
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("raise the limit of open files"), "{}", warnings[0]);
}
