//! Letta, where each of Broca's users has an identity, and a block of memory that the agent is given
//! with that user's messages.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use postern_host::fault;
use postern_host::key::{self, KeyError};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time;

use super::visitor::{PLATFORM, display_name};
use crate::agent::service::{Service, parse_url};
use crate::agent::{AgentConfigError, AgentError, AgentLimits, Question};

/// How long Letta may take to make what a visitor needs; other new visitors wait.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The label of a block that tells of the person the agent talks to.
const LABEL: &str = "human";

/// Where Letta is.
#[derive(Debug, Clone, Args)]
pub struct LettaArgs {
    /// The Letta server that keeps what the agent of --agent broca remembers of each visitor
    #[arg(long, env = "POSTERN_LETTA_URL", hide_env_values = true, value_name = "URL")]
    pub letta_url: Option<String>,

    /// A file that holds the key of that server; without one it is in LETTA_API_KEY
    #[arg(long, env = "LETTA_API_KEY_FILE", value_name = "PATH")]
    pub letta_key_file: Option<PathBuf>,
}

/// What Letta made for a visitor; `None` leaves what Broca's database has.
#[derive(Debug, Clone, Default)]
pub(super) struct LettaIds {
    pub(super) identity: Option<String>,
    pub(super) block: Option<String>,
}

/// A Letta server.
#[derive(Debug)]
pub(super) struct Letta {
    identities: Service,
    blocks: Service,
}

#[derive(Deserialize)]
struct Identity {
    id: String,
    identifier_key: String,
}

#[derive(Deserialize)]
struct Block {
    id: String,
    value: String,
}

impl Letta {
    /// The server that the settings name; `None` when they name none.
    pub(super) fn from_args(
        args: &LettaArgs,
        limits: AgentLimits,
    ) -> Result<Option<Self>, AgentConfigError> {
        let Some(base) = &args.letta_url else { return Ok(None) };
        let key = match key::read("LETTA_API_KEY", args.letta_key_file.as_deref()) {
            // A server of one's own wants none.
            Err(KeyError::Missing { .. }) if args.letta_key_file.is_none() => None,
            key => Some(key?),
        };
        let service = |collection| service(base, collection, key.clone(), limits);
        Ok(Some(Self { identities: service("identities")?, blocks: service("blocks")? }))
    }

    /// Makes a visitor's identity and block, or finds those that an earlier try has made.
    pub(super) async fn make(&self, question: &Question) -> Result<LettaIds, AgentError> {
        let made = time::timeout(TIMEOUT, self.try_to_make(question)).await;
        made.unwrap_or_else(|_| {
            let cause = format!("no answer within {TIMEOUT:?}");
            Err(AgentError::Network { origin: self.identities.origin(), cause })
        })
    }

    async fn try_to_make(&self, question: &Question) -> Result<LettaIds, AgentError> {
        let key = format!("postern_{}", question.uid);
        let body = json!({
            "identifier_key": key,
            "name": display_name(question),
            "identity_type": "user",
        });
        let value = block_value(question);
        let (identity, block) = match self.identities.post(&body).await {
            // No block was made before the identity was.
            Ok(created) => (read(&self.identities, created).await?, None),
            Err(AgentError::Refused { status: StatusCode::CONFLICT, .. }) => {
                (self.find_identity(&key).await?, self.find_block(question, &value).await?)
            }
            Err(error) => return Err(error),
        };
        fault::point("poller: Letta has made the identity");
        let block = match block {
            Some(block) => block,
            None => self.make_block(&value).await?,
        };
        fault::point("poller: Letta has made the block");
        Ok(LettaIds { identity: Some(identity.id), block: Some(block.id) })
    }

    async fn find_identity(&self, key: &str) -> Result<Identity, AgentError> {
        let answer = self.identities.get(&[("identifier_key", key)]).await?;
        let listed: Vec<Identity> = read(&self.identities, answer).await?;
        let mut listed = listed.into_iter();
        let found = listed.find(|identity| identity.identifier_key == key);
        found.ok_or_else(|| self.identities.no_reply("no identity of a key that it says is taken"))
    }

    /// The block that an earlier try has made and nobody has written to since.
    async fn find_block(
        &self,
        question: &Question,
        value: &str,
    ) -> Result<Option<Block>, AgentError> {
        let uid = question.uid.to_string();
        let query = [("label", LABEL), ("value_search", &uid), ("order", "desc")];
        let listed: Vec<Block> = read(&self.blocks, self.blocks.get(&query).await?).await?;
        Ok(listed.into_iter().find(|block| block.value == value))
    }

    async fn make_block(&self, value: &str) -> Result<Block, AgentError> {
        let created = self.blocks.post(&json!({ "label": LABEL, "value": value })).await?;
        read(&self.blocks, created).await
    }
}

fn service(
    base: &str,
    collection: &str,
    key: Option<String>,
    limits: AgentLimits,
) -> Result<Service, AgentConfigError> {
    let flag = "--letta-url";
    let mut url = parse_url(base, flag)?;
    url.path_segments_mut()
        .map_err(|()| AgentConfigError::InvalidUrl { flag })?
        .pop_if_empty()
        .extend(["v1", collection, ""]);
    Service::new(url, key, limits)
}

async fn read<T: DeserializeOwned>(service: &Service, answer: Response) -> Result<T, AgentError> {
    let body = service.body(answer, 0).await?;
    serde_json::from_slice(&body).map_err(|_| service.no_reply("something else than Letta does"))
}

/// What the agent knows of a visitor to begin with, as data: a name is a visitor's own choice.
fn block_value(question: &Question) -> String {
    let (uid, name) = (&question.uid, display_name(question));
    json!({ "platform": PLATFORM, "uid": uid, "name": name }).to_string()
}
