//! What `rientro` says when its call is not answered, or answered by somebody else: real processes, real sockets.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rientro_orchestrator::Address;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;

use crate::cell::within;
use crate::process::Process;

/// Nobody waits longer for a process that is stopped: the first answer has five seconds; the rest is a busy machine.
const SAID_WITHIN: Duration = Duration::from_secs(12);

fn command(endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rientro"));
    command.args(args).env("RIENTRO_ENDPOINT", endpoint).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The exit code, and what was said on stderr.
async fn run(endpoint: &str, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = within(command(endpoint, args).output()).await.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn http(address: &Address) -> String {
    format!("http://{address}")
}

fn socket(folder: &Path, name: &str) -> String {
    format!("unix://{}", folder.join(name).display())
}

/// A stopped orchestrator is said to be one that does not answer, soon, and over whichever socket; then it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_hangs_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    kill_process(process.pid(), Signal::STOP).unwrap();
    for endpoint in [http(&process.address), socket(folder.path(), "state/operators.sock")] {
        let begun = Instant::now();
        let (code, said) = run(&endpoint, &["cell", "show"]).await;
        assert_eq!(code, Some(3), "{said}");
        let wanted =
            format!("the orchestrator at {endpoint} takes connections and has not answered for 5 s\n");
        assert!(said.contains(&wanted) && said.contains("look at its process and its log"), "{said}");
        assert!(said.contains("go by RIENTRO_STATE_DIR on its host, without --endpoint"), "{said}");
        assert!(begun.elapsed() < SAID_WITHIN, "it took {:?}", begun.elapsed());
    }
    kill_process(process.pid(), Signal::CONT).unwrap();
    assert_eq!(run(&http(&process.address), &["cell", "show"]).await.0, Some(0));
}

/// A stream on which nothing comes for long is kept while the other side is there, and given up when it hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_orchestrator_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    let mut tail = command(&http(&process.address), &["journal", "tail", "--from", "1", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    within(lines.next_line()).await.unwrap().expect("the founding of the cell");
    kill_process(process.pid(), Signal::STOP).unwrap();
    let output = within(tail.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("has not answered for 12 s"), "{said}");
    kill_process(process.pid(), Signal::CONT).unwrap();
}

/// A server that takes every connection, and answers with these bytes or with none.
async fn other(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if !answer.is_empty() {
                let _read = stream.read(&mut [0; 1_024]).await;
                let _gone = stream.write_all(answer).await;
            }
        }
    });
    endpoint
}

/// Whoever is there instead is named for what it is, with the exit code of a cell that cannot be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_told_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let agents = format!("unix:{}", folder.path().join("agents.sock").display());
    let process = Process::start(folder.path(), &["--listen-agents", &agents]);
    process.operator().await;
    for (endpoint, found) in [
        (http(&process.metrics), "it is a web server, or another gRPC server"),
        (socket(folder.path(), "agents.sock"), "it is an orchestrator's address for agents"),
        (other(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await, "it does not speak HTTP/2"),
        (other(b"+OK POP3 ready\r\n").await, "it does not speak HTTP/2"),
    ] {
        let (code, said) = run(&endpoint, &["cell", "show"]).await;
        assert_eq!(code, Some(3), "{said}");
        let wanted =
            format!("what listens at {endpoint} is not a Rientro orchestrator for operators: {found}");
        assert!(said.contains(&wanted) && said.contains("is --endpoint"), "{said}");
    }
    let (code, said) = run(&other(b"").await, &["cell", "show"]).await;
    assert!(code == Some(3) && said.contains("closes connections at once"), "{said}");
}

/// With JSON asked for, a failure is one line of JSON on stderr, that of a command line that makes no sense too.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_as_json_when_that_is_asked_for() {
    for (args, code, named) in [
        (&["-o", "json", "cell", "show"][..], 3, "unreachable"),
        (&["--output=json", "shard", "show", "a/b"], 2, "usage"),
        (&["-o", "json", "cell", "shown"], 2, "usage"),
        (&["plan", "check", "/nonexistent.toml", "-o", "json"], 1, "io"),
    ] {
        let (exit, said) = run("http://127.0.0.1:1", args).await;
        assert_eq!(exit, Some(code), "{said}");
        let told: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(told["error"]["code"], named, "{said}");
        assert!(told["error"]["what"].is_string(), "{said}");
        assert!(told["error"]["next"].is_string(), "{said}");
    }
}

/// A plan is a file that has an end, or stdin up to a bound: nothing is waited for, and nothing is read without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_a_file_or_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    for (path, told) in [
        (pipe.to_str().unwrap(), "is a pipe, not a regular file\nwrite `-`"),
        ("/dev/zero", "is a device, not a regular file"),
        (folder.path().to_str().unwrap(), "is a directory, not a regular file"),
    ] {
        let (code, said) = run("http://127.0.0.1:1", &["plan", "check", "--local", path]).await;
        assert!(code == Some(1) && said.contains(told), "{said}");
    }
    let text = b"name = \"x\"\n[covers]\nall = true\n[waves]\nlist = [\"50%\", \"rest\"]\nbake = \"0s\"\npromotion = \"automatic\"\n";
    for (input, code, told) in [
        (&text[..], 0, ""),
        (b"name = 1\n", 1, "-:1:"),
        (&[b'#'; 4 << 20], 1, "too long, at most 1048576 bytes"),
    ] {
        let mut command = command("http://127.0.0.1:1", &["plan", "check", "--local", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // It stops reading where its bound is.
        let _gone = child.stdin.take().unwrap().write_all(input).await;
        let output = within(child.wait_with_output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(told), "{said}");
    }
}
