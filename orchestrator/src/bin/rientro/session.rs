//! What every command has at hand: where the cell is, who asks, and where output goes.

use clap::Args;
use rientro_types::{ACTOR_ID_BYTES_MAX, CellTime, Refusal};

use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::clean;
use crate::output::{Form, Output};

/// Where an orchestrator listens unless it is told otherwise.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:7400";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArgs {
    /// Where the cell is: http://HOST:PORT or unix:///PATH
    #[arg(long, global = true, env = "RIENTRO_ENDPOINT", default_value = ENDPOINT_DEFAULT, help_heading = "Global options")]
    endpoint: String,
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

/// One run of the command.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    endpoint: String,
    actor: Option<String>,
    /// Whether to act without asking.
    pub(crate) yes: bool,
    /// Where output goes.
    pub(crate) out: Output,
}

impl Session {
    pub(crate) fn new(args: GlobalArgs) -> Self {
        let GlobalArgs { endpoint, output, actor, yes } = args;
        Self { endpoint, actor, yes, out: Output::new(output) }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.endpoint).await
    }

    /// Who decides.
    pub(crate) fn actor(&self) -> Result<String, Failure> {
        let login = || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
        let uid = || format!("uid-{}", rustix::process::getuid().as_raw());
        let actor = self.actor.clone().or_else(login).filter(|name| !name.is_empty()).unwrap_or_else(uid);
        if actor.len() > ACTOR_ID_BYTES_MAX {
            return Err(Failure::Usage(format!("--as takes a name of at most {ACTOR_ID_BYTES_MAX} bytes")));
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
    let Refusal::Plan(problems) = refusal else { return Failure::Refused(clean(&refusal.to_string())) };
    let lines = problems.iter().map(|p| format!("\n  {}: {}", clean(&p.field), clean(&p.problem)));
    Failure::Refused(lines.fold("the plan cannot be carried out:".to_owned(), |text, line| text + &line))
}
