//! The broca agent: puts each message into the queue in Broca's database, and waits until Broca has
//! put the answer there too.

mod database;
mod entry;
mod letta;
mod mark;
mod visitor;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use postern_host::fault;
use tokio::sync::Mutex;
use tokio::time;
use tracing::warn;

use self::database::Database;
use self::entry::{Entry, State};
use self::letta::{Letta, LettaArgs, LettaIds};
use super::reply::Reply;
use super::{AgentConfigError, AgentError, AgentLimits, Draft, Question};

/// How often the row of a message is looked at: SQLite tells nobody of what other programs write.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a lock of Broca's is waited for when a message is to be taken back: the visitor who
/// stopped it waits too.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(2);

/// The settings of the broca agent.
#[derive(Debug, Clone, Args)]
pub struct BrocaArgs {
    /// The database of --agent broca: Broca's sanctum.db
    #[arg(long, env = "POSTERN_BROCA_DB", value_name = "PATH")]
    pub broca_db: Option<PathBuf>,

    /// Where Broca's users get their memory.
    #[command(flatten)]
    pub letta: LettaArgs,
}

/// Asks Broca, which answers one message after the other, by its own tries and pauses.
#[derive(Debug)]
pub struct Broca {
    path: PathBuf,
    letta: Option<Letta>,
    /// Held until the database knows what Letta made, so that nothing is made twice for a visitor.
    making: Mutex<()>,
    limits: AgentLimits,
}

impl Broca {
    pub(super) fn new(args: &BrocaArgs, limits: AgentLimits) -> Result<Self, AgentConfigError> {
        let path = args
            .broca_db
            .clone()
            .ok_or(AgentConfigError::Missing { agent: "broca", flag: "--broca-db PATH" })?;
        let letta = Letta::from_args(&args.letta, limits)?;
        Ok(Self { path, letta, making: Mutex::default(), limits })
    }

    /// Whether the database is Broca's, and can be written.
    pub(super) async fn check(&self) -> Result<(), AgentError> {
        Database::open(&self.path).await?.check().await
    }

    /// Dropped, it leaves the message where it is: whoever is asked the same again finds it there.
    pub(super) async fn answer(
        &self,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        let database = Database::open(&self.path).await?;
        let limit = self.limits.timeout;
        let asked = draft.unless_cancelled(self.ask(&database, question, draft));
        let answer = time::timeout(limit, asked).await.unwrap_or(Err(AgentError::TimedOut(limit)));
        if matches!(answer, Err(AgentError::Cancelled | AgentError::TimedOut(_))) {
            withdraw(&database, question).await;
        }
        answer
    }

    async fn ask(
        &self,
        database: &Database,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        let entry = self.enqueue(database, question).await?;
        fault::point("poller: in Broca's queue");
        let mut reply = Reply::new(draft, self.limits);
        reply.push(&answer_to(database, entry).await?)?;
        reply.finish()
    }

    /// Puts the message into the queue, and has Letta make what its visitor lacks.
    async fn enqueue(&self, database: &Database, question: &Question) -> Result<Entry, AgentError> {
        let Some(letta) = &self.letta else {
            return database.enqueue(question, LettaIds::default()).await;
        };
        if !database.has_letta_ids(&question.uid).await? {
            let _alone = self.making.lock().await;
            if !database.has_letta_ids(&question.uid).await? {
                let letta_ids = letta.make(question).await?;
                return database.enqueue(question, letta_ids).await;
            }
        }
        database.enqueue(question, LettaIds::default()).await
    }
}

/// Waits until Broca is done with a message, and gives what it answered.
async fn answer_to(database: &Database, entry: Entry) -> Result<Vec<u8>, AgentError> {
    loop {
        match database.state(entry).await? {
            State::Open => time::sleep(LOOK_EVERY).await,
            State::Answered(answer) => return Ok(answer),
            State::GivenUp(why) => return Err(AgentError::GivenUp(why)),
        }
    }
}

/// Takes a message back that Broca has not begun with; what it has begun with it ends, and nobody
/// reads the answer.
async fn withdraw(database: &Database, question: &Question) {
    let withdrawn = time::timeout(WITHDRAW_WITHIN, database.withdraw(question)).await;
    if !matches!(withdrawn, Ok(Ok(()))) {
        warn!(message.id = %question.message_id, "a message could not be taken back from Broca's queue");
    }
}
