//! The http agent: posts each message as JSON to a service of one's own.

use std::{io, slice};

use clap::Args;
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

use super::reply::Reply;
use super::reply_files::ReplyFolder;
use super::service::{Service, media_type, parse_url};
use super::{AgentConfigError, AgentError, AgentLimits, Draft, Question};

/// How much of a JSON answer may be files: some 12 MB of them, in Base64.
const MAX_FILES_JSON_BYTES: usize = 16 * 1024 * 1024;

/// The settings of the http agent.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Where --agent http posts to
    #[arg(long = "http-url", env = "POSTERN_HTTP_URL", hide_env_values = true, value_name = "URL")]
    pub url: Option<String>,
}

/// Posts the question's JSON to a URL and takes its text, or its JSON's `reply`, as the reply.
#[derive(Debug)]
pub struct Http {
    service: Service,
}

#[derive(Deserialize)]
struct JsonReply {
    reply: String,
    quick_replies: Option<Value>,
    files: Option<Value>,
}

impl Http {
    pub(super) fn new(args: &HttpArgs, limits: AgentLimits) -> Result<Self, AgentConfigError> {
        let url = args
            .url
            .as_deref()
            .ok_or(AgentConfigError::Missing { agent: "http", flag: "--http-url URL" })?;
        let service = Service::new(parse_url(url, "--http-url")?, None, limits)?;
        Ok(Self { service })
    }

    pub(super) async fn answer(
        &self,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        self.service.in_time(self.ask(question, draft)).await
    }

    async fn ask(&self, question: &Question, draft: &Draft) -> Result<String, AgentError> {
        let response = self.service.post(question).await?;
        self.read_answer(response, draft).await
    }

    pub(crate) async fn read_answer(
        &self,
        response: Response,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        match media_type(&response).as_str() {
            json if json.ends_with("json") => self.read_json(response, draft).await,
            text if text.is_empty() || text.starts_with("text/") => {
                self.read_text(response, draft).await
            }
            other => {
                Err(self.service.no_reply(format!("{other:?}, which is neither JSON nor text")))
            }
        }
    }

    async fn read_json(&self, response: Response, draft: &Draft) -> Result<String, AgentError> {
        let body = self.service.body(response, MAX_FILES_JSON_BYTES).await?;
        let Ok(JsonReply { reply: text, quick_replies, files }) = serde_json::from_slice(&body)
        else {
            return Err(self.service.no_reply("JSON without a text field \"reply\""));
        };
        let mut reply = Reply::new(draft, self.service.limits());
        reply.push(text.as_bytes())?;
        quick_replies.iter().flat_map(texts).for_each(|text| draft.offer(text));
        let files = files.map_or_else(Vec::new, items);
        if !files.is_empty() {
            attach(files, draft).await.map_err(AgentError::ReplyFiles)?;
        }
        reply.finish()
    }

    async fn read_text(&self, mut response: Response, draft: &Draft) -> Result<String, AgentError> {
        let mut reply = Reply::new(draft, self.service.limits());
        let network = |error| self.service.network(error);
        while let Some(piece) = response.chunk().await.map_err(network)? {
            reply.push(&piece)?;
        }
        reply.finish()
    }
}

async fn attach(sent: Vec<Value>, draft: &Draft) -> io::Result<()> {
    let folder = ReplyFolder::make(draft).await?;
    draft.attach(folder.store(sent).await?);
    Ok(())
}

/// What an array holds, or a single value.
fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        item => vec![item],
    }
}

/// What an array holds, or a single value; what is no text is blank.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let all = value.as_array().map_or(slice::from_ref(value), Vec::as_slice);
    all.iter().map(|one| one.as_str().unwrap_or_default())
}
