//! The openai agent: any service with the chat completions API, its reply read as it is written.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use futures_util::StreamExt;
use postern_host::key::{self, KeyError};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sse_stream::SseByteStream;
use tracing::info;

use super::reply::Reply;
use super::service::{Service, media_type, parse_url};
use super::{AgentConfigError, AgentError, AgentLimits, Draft, Question, Speaker};

/// The settings of the openai agent.
#[derive(Debug, Clone, Args)]
pub struct OpenAiArgs {
    /// The service that --agent openai asks
    #[arg(
        long = "openai-base-url",
        env = "POSTERN_OPENAI_BASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:11434/v1"
    )]
    pub base_url: String,

    /// The model of --agent openai
    #[arg(long = "openai-model", env = "POSTERN_OPENAI_MODEL", value_name = "NAME")]
    pub model: Option<String>,

    /// What the model of --agent openai is told before every conversation
    #[arg(long, env = "POSTERN_SYSTEM_PROMPT", value_name = "TEXT")]
    pub system_prompt: Option<String>,

    /// A file that holds the key of --agent openai; without one it is in OPENAI_API_KEY
    #[arg(long = "openai-api-key-file", env = "OPENAI_API_KEY_FILE", value_name = "PATH")]
    pub key_file: Option<PathBuf>,
}

/// Asks a model behind the chat completions API.
#[derive(Debug)]
pub struct OpenAi {
    service: Service,
    model: String,
    system_prompt: Option<String>,
}

impl OpenAi {
    pub(super) fn new(args: &OpenAiArgs, limits: AgentLimits) -> Result<Self, AgentConfigError> {
        let model = args
            .model
            .clone()
            .ok_or(AgentConfigError::Missing { agent: "openai", flag: "--openai-model NAME" })?;
        let key = match key::read("OPENAI_API_KEY", args.key_file.as_deref()) {
            // A service of one's own wants none.
            Err(KeyError::Missing { .. }) if args.key_file.is_none() => None,
            key => Some(key?),
        };
        Ok(Self {
            service: Service::new(completions_url(&args.base_url)?, key, limits)?,
            model,
            system_prompt: args.system_prompt.clone().filter(|text| !text.trim().is_empty()),
        })
    }

    pub(super) async fn answer(
        &self,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        self.service.in_time(self.ask(question, draft)).await
    }

    async fn ask(&self, question: &Question, draft: &Draft) -> Result<String, AgentError> {
        let response = self.service.post(&self.request(question)).await.map_err(with_advice)?;
        self.read_answer(response, draft).await
    }

    pub(crate) async fn read_answer(
        &self,
        response: Response,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        match media_type(&response).as_str() {
            "text/event-stream" => self.read_stream(response, draft).await,
            // A service that does not stream.
            json if json.ends_with("json") => self.read_whole(response, draft).await,
            other => Err(self.service.no_reply(format!("{other:?} (check --openai-base-url)"))),
        }
    }

    fn request<'a>(&'a self, question: &'a Question) -> Request<'a> {
        let system =
            self.system_prompt.iter().map(|text| Message { role: "system", content: text });
        let history = question.history.iter().map(|turn| Message {
            role: match turn.role {
                Speaker::User => "user",
                Speaker::Assistant => "assistant",
            },
            content: &turn.content,
        });
        let last = Message { role: "user", content: &question.message };
        Request {
            model: &self.model,
            messages: system.chain(history).chain([last]).collect(),
            stream: true,
        }
    }

    async fn read_stream(&self, response: Response, draft: &Draft) -> Result<String, AgentError> {
        let mut reply = Reply::new(draft, self.service.limits());
        let unparsed = AtomicUsize::new(0);
        let pieces = response.bytes_stream().map(|piece| {
            let piece = piece.map_err(|error| self.service.network(error))?;
            let held = unparsed.fetch_add(piece.len(), Ordering::Relaxed) + piece.len();
            // The reader of events has no limit of its own.
            if held > self.service.max_body_bytes() {
                return Err(self.service.no_reply("an event without an end"));
            }
            Ok(piece)
        });
        let mut events = pin!(SseByteStream::new(pieces));
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| self.unreadable(error))?;
            unparsed.store(0, Ordering::Relaxed);
            let data = event.data.unwrap_or_default();
            if data == "[DONE]" || (!data.is_empty() && self.read(data.as_bytes(), &mut reply)?) {
                return reply.finish();
            }
        }
        Err(AgentError::BrokenOff)
    }

    async fn read_whole(&self, response: Response, draft: &Draft) -> Result<String, AgentError> {
        let mut reply = Reply::new(draft, self.service.limits());
        self.read(&self.service.body(response, 0).await?, &mut reply)?;
        reply.finish()
    }

    /// Takes what a completion, or a chunk of one, adds to the reply; true when it is the last.
    fn read(&self, json: &[u8], reply: &mut Reply<'_>) -> Result<bool, AgentError> {
        let completion: Completion = serde_json::from_slice(json)
            .map_err(|_| self.service.no_reply("something else than a chat completion"))?;
        if completion.error.is_some() {
            return Err(self.failed_midway(json));
        }
        // Without a choice it tells the usage.
        let Some(choice) = completion.choices.unwrap_or_default().into_iter().next() else {
            return Ok(false);
        };
        if let Some(text) = choice.delta.or(choice.message).and_then(|part| part.content) {
            reply.push(text.as_bytes())?;
        }
        self.is_end(choice.finish_reason.as_deref())
    }

    fn is_end(&self, finish_reason: Option<&str>) -> Result<bool, AgentError> {
        match finish_reason {
            None | Some("") => return Ok(false),
            Some("content_filter") => return Err(AgentError::Filtered),
            Some("error" | "abort") => return Err(AgentError::BrokenOff),
            Some("length") => {
                info!(agent.model = self.model, "reply cut at the model's length limit")
            }
            Some(_) => {}
        }
        Ok(true)
    }

    /// The failure that a stream reports in the place of a chunk.
    fn failed_midway(&self, json: &[u8]) -> AgentError {
        let body: Value = serde_json::from_slice(json).unwrap_or_default();
        let code = body.pointer("/error/code").and_then(Value::as_u64);
        let status = code
            .and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok())
            .filter(|status| status.is_client_error() || status.is_server_error())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_advice(self.service.refused(status, None, &body))
    }

    fn unreadable(&self, error: sse_stream::Error) -> AgentError {
        match error {
            sse_stream::Error::Body(error) => match error.downcast() {
                Ok(error) => *error,
                Err(_) => AgentError::BrokenOff,
            },
            _ => self.service.no_reply("an event that is not UTF-8"),
        }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// A chunk of a streamed completion, or a whole one.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Part>,
    message: Option<Part>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Part {
    content: Option<String>,
}

fn completions_url(base: &str) -> Result<Url, AgentConfigError> {
    let flag = "--openai-base-url";
    let mut url = parse_url(base, flag)?;
    url.path_segments_mut()
        .map_err(|()| AgentConfigError::InvalidUrl { flag })?
        .pop_if_empty()
        .extend(["chat", "completions"]);
    Ok(url)
}

/// Adds which setting to check to what a service said.
fn with_advice(mut error: AgentError) -> AgentError {
    if let AgentError::Refused { status, advice, .. } = &mut error {
        *advice = match status.as_u16() {
            401 | 403 => " (check OPENAI_API_KEY)",
            404 => " (check --openai-base-url and --openai-model)",
            400 | 422 => " (check --openai-model, and whether the conversation fits it)",
            _ => advice,
        };
    }
    error
}
