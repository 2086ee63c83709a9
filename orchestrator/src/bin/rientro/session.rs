//! What every command has at hand: where the cell is, who asks, and where output goes.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use rientro_orchestrator::settings::OPERATORS_SOCKET;
use rientro_types::{ACTOR_ID_BYTES_MAX, CellTime, Refusal};
use rientro_wire::operator::CellAnswer;
use serde_json::json;
use tokio::time::timeout;

use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::clean;
use crate::output::{Form, Output, note, note_json};

/// Where an orchestrator listens unless it is told otherwise.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:7400";

/// Names the orchestrator's state directory, for the orchestrator and whoever calls it on the same host.
const STATE_DIR_VARIABLE: &str = "RIENTRO_STATE_DIR";

/// How long a command waits to hear whether the cell is in trouble, before it does what it is for.
const TROUBLE_WAIT: Duration = Duration::from_secs(1);

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArgs {
    /// Where the cell is: http://HOST:PORT or unix:///PATH; unless given, the socket in the orchestrator's state directory when
    /// RIENTRO_STATE_DIR names that, else http://127.0.0.1:7400
    #[arg(long, global = true, env = "RIENTRO_ENDPOINT", help_heading = "Global options")]
    endpoint: Option<String>,
    /// Form of the data on stdout
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Global options"
    )]
    output: Form,
    /// Who decides, for the journal; your login name unless given
    #[arg(long = "as", global = true, value_name = "NAME", help_heading = "Global options")]
    actor: Option<String>,
    /// Do not ask before acting; needed where there is no terminal to ask on
    #[arg(long, short, global = true, help_heading = "Global options")]
    yes: bool,
}

/// What said where the cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `--endpoint`, or its variable.
    Flag,
    /// The orchestrator's state directory, by its variable.
    StateDir,
    /// Nothing.
    Default,
}

impl Target {
    /// Another way to an orchestrator that does not answer there, with a space behind it; empty when it is the one taken.
    pub(crate) const fn way_in(self) -> &'static str {
        match self {
            Self::Flag => {
                "If too many connect to it, go by RIENTRO_STATE_DIR on its host, without --endpoint: no others fill the socket there. "
            }
            Self::Default => {
                "If too many connect to it, go by RIENTRO_STATE_DIR on its host: no others fill the socket there. "
            }
            Self::StateDir => "",
        }
    }

    /// What to ask oneself when nobody is found there.
    pub(crate) const fn question(self) -> &'static str {
        match self {
            Self::Flag => "is --endpoint (or RIENTRO_ENDPOINT) right?",
            Self::StateDir => "is RIENTRO_STATE_DIR right? Its socket is looked for in that directory.",
            Self::Default => {
                "does it listen there? Where else it may be is said by --endpoint, RIENTRO_ENDPOINT or RIENTRO_STATE_DIR."
            }
        }
    }
}

/// One run of the command.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    endpoint: String,
    /// What said so.
    pub(crate) target: Target,
    actor: Option<String>,
    /// Whether to act without asking.
    pub(crate) yes: bool,
    /// Where output goes.
    pub(crate) out: Output,
}

impl Session {
    pub(crate) fn new(args: GlobalArgs) -> Self {
        let GlobalArgs { endpoint, output, actor, yes } = args;
        let (target, endpoint) = match endpoint {
            Some(endpoint) => (Target::Flag, endpoint),
            None => endpoint_in(std::env::var_os(STATE_DIR_VARIABLE)),
        };
        Self { endpoint, target, actor, yes, out: Output::new(output) }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Connects. What is wrong with the whole cell is said first, whatever is asked: a full disk looks like silent nodes from
    /// anywhere else, and nobody is to decide on a journal that was rolled back without knowing it.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let mut client = self.connect_quietly().await?;
        if let Ok(Ok(CellAnswer { trouble: Some(trouble), .. })) = timeout(TROUBLE_WAIT, client.cell()).await
        {
            if self.out.is_json() {
                note_json(&json!({ "trouble": clean(&trouble) }));
            } else {
                note(format_args!("The cell is in trouble: {}\n", clean(&trouble)));
            }
        }
        Ok(client)
    }

    /// Connects, for who shows what is wrong with the cell anyway.
    pub(crate) async fn connect_quietly(&self) -> Result<Client, Failure> {
        Client::connect(&self.endpoint).await
    }

    /// Who decides.
    pub(crate) fn actor(&self) -> Result<String, Failure> {
        let login = || {
            let mut names = ["LOGNAME", "USER"].iter().filter_map(|name| std::env::var(name).ok());
            names.find(|name| !name.is_empty())
        };
        let uid = || format!("uid-{}", rustix::process::getuid().as_raw());
        let actor = self.actor.clone().or_else(login).unwrap_or_else(uid);
        if actor.is_empty() || actor.len() > ACTOR_ID_BYTES_MAX {
            let what = format!("--as takes a name of 1 to {ACTOR_ID_BYTES_MAX} bytes");
            return Err(Failure::Usage(what.into()));
        }
        Ok(actor)
    }
}

/// The cell's time: what ages and waits are counted from, whatever this machine's clock says.
pub(crate) async fn now(client: &mut Client) -> Result<CellTime, Failure> {
    Ok(client.cell().await?.cell.at)
}

/// A refusal, as a failure.
pub(crate) fn refused(refusal: &Refusal) -> Failure {
    let what = if let Refusal::Plan(problems) = refusal {
        // Each on a line of its own, which cleaning the whole would spell out.
        let lines = problems.iter().map(|p| format!("\n  {}: {}", clean(&p.field), clean(&p.problem)));
        lines.fold("the plan cannot be carried out:".to_owned(), |text, line| text + &line)
    } else {
        clean(&refusal.what())
    };
    match refusal.next() {
        Some(next) => Failure::refused(what, clean(&next)),
        None => Failure::Refused(what.into()),
    }
}

/// Where the cell is when nobody said so: its own socket, if its state directory is known.
fn endpoint_in(state_dir: Option<OsString>) -> (Target, String) {
    let socket =
        state_dir.and_then(|dir| std::path::absolute(dir).ok()).map(|dir| dir.join(OPERATORS_SOCKET));
    match socket {
        Some(socket) => (Target::StateDir, format!("unix://{}", socket.display())),
        None => (Target::Default, ENDPOINT_DEFAULT.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_in_the_state_directory_goes_before_the_port() {
        assert_eq!(endpoint_in(None), (Target::Default, ENDPOINT_DEFAULT.to_owned()));
        let (target, endpoint) = endpoint_in(Some("/var/lib/rientro".into()));
        assert_eq!((target, &*endpoint), (Target::StateDir, "unix:///var/lib/rientro/operators.sock"));
    }
}
