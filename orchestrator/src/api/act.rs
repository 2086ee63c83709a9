//! Decisions: who asks, and what is answered.

use rientro_types::{ACTOR_ID_BYTES_MAX, Actor, ActorKind, Authentication};
use rientro_wire::operator::{Act, ActAnswer};
use rientro_wire::v1;
use tonic::{Request, Status};

use super::Operators;
use crate::journal::Journal;
use crate::listen::Peer;
use crate::state_dir;

/// Where the names of this host's users are.
const USERS: &str = "/etc/passwd";

/// Who is at the other end of the call's connection.
pub(super) fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().copied();
    peer.ok_or_else(|| Status::internal("the connection does not say whose it is; this is a bug"))
}

/// The actor of a call: the kernel's word goes before the caller's.
fn actor(peer: Peer, named: String, users: &str) -> Actor {
    let (id, authentication) = match peer {
        Peer::Loopback => (named, Authentication::Loopback),
        Peer::Unix { uid } => {
            (user_name(uid, users).unwrap_or_else(|| format!("uid-{uid}")), Authentication::UnixPeer)
        }
    };
    Actor { kind: ActorKind::Operator, id, authentication }
}

/// The login name of a user id, from the lines of passwd(5).
fn user_name(uid: u32, users: &str) -> Option<String> {
    let wanted = uid.to_string();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, found) = (fields.next()?, fields.nth(1)?);
        (found == wanted).then_some(name)
    })?;
    (1..=ACTOR_ID_BYTES_MAX).contains(&name.len()).then(|| name.to_owned())
}

impl<J: Journal> Operators<J> {
    pub(super) async fn decide(&self, peer: Peer, act: Act) -> Result<v1::ActResponse, Status> {
        let Act { actor: named, verb, dry_run } = act;
        let users = match peer {
            Peer::Unix { .. } => tokio::fs::read_to_string(USERS).await.unwrap_or_default(),
            Peer::Loopback => String::new(),
        };
        let actor = actor(peer, named, &users);
        let operator = actor.id.clone();
        let answer = self.handle.act(actor, verb, dry_run, state_dir::random()).await?;
        let answer = match answer {
            Ok(receipt) => {
                tracing::info!(operator, dry_run, decided = ?receipt.decided.map(rientro_types::Seq::raw), shards = receipt.shards, "verb accepted");
                ActAnswer::Receipt(receipt)
            }
            Err(refusal) => {
                tracing::info!(operator, dry_run, "verb refused");
                ActAnswer::Refusal(refusal)
            }
        };
        Ok(answer.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbad\n";

    /// R11: on a Unix socket the kernel says who decides, whatever the caller claims.
    #[test]
    fn the_kernels_word_goes_before_the_callers() {
        let by_socket = actor(Peer::Unix { uid: 1000 }, "root".to_owned(), USERS);
        assert_eq!((by_socket.id.as_str(), by_socket.authentication), ("anna", Authentication::UnixPeer));
        assert_eq!(actor(Peer::Unix { uid: 7 }, "root".to_owned(), USERS).id, "uid-7");
        let by_port = actor(Peer::Loopback, "mario".to_owned(), USERS);
        assert_eq!((by_port.id.as_str(), by_port.authentication), ("mario", Authentication::Loopback));
    }
}
