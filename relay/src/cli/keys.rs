//! `postern-relay keys`: the keys of pollers and operators, changed while the relay serves.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use postern_host::seconds;
use postern_relay::maintenance::KeyFile;
use postern_relay::store::KeyRow;
use postern_shared::{SiteId, Timestamp};
use serde_json::json;

use super::{DbArg, exit, moment, print, print_json};

/// What `postern-relay keys` takes.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    db: DbArg,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it, this once
    Create {
        /// What to call it, such as home-server
        #[arg(value_parser = name)]
        name: String,

        /// The site whose poller it is for
        #[arg(long, default_value = "default", conflicts_with = "admin")]
        site: SiteId,

        /// Make an operator's key instead
        #[arg(long)]
        admin: bool,
    },
    /// List them: what each opens, and when it was last used
    List,
    /// Make a new key of the same name and print it, this once
    Rotate {
        /// Which
        name: String,

        /// For how long the old one goes on opening what it opened, to change it over in peace
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse)]
        overlap: Option<Duration>,
    },
    /// End a key: its open calls end within a second
    Revoke {
        /// Which
        name: String,
    },
}

impl KeysArgs {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        exit(self.execute().map(|()| true))
    }

    fn execute(self) -> anyhow::Result<()> {
        let mut file = KeyFile::open(&self.db.db)?;
        let now = Timestamp::now();
        match self.command {
            Command::List => print_list(&file.list()?, now, self.json),
            Command::Create { name, site, admin } => {
                let site = (!admin).then_some(&site);
                print_key(&name, &file.create(&name, site, now)?, self.json)
            }
            Command::Rotate { name, overlap } => {
                let old_ends = now.checked_add(overlap.unwrap_or_default())?;
                print_key(&name, &file.rotate(&name, old_ends, now)?, self.json)
            }
            Command::Revoke { name } => {
                file.revoke(&name, now)?;
                match self.json {
                    true => print_json(&json!({ "revoked": name })),
                    false => print(format!("revoked {name}")),
                }
            }
        }
    }
}

/// A name that reads well in a list and a log.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&text.chars().count()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits, '-', '_' and '.'".into())
}

/// The key alone on standard output, so that it can be put where it belongs.
fn print_key(name: &str, key: &str, json: bool) -> anyhow::Result<()> {
    match json {
        true => print_json(&json!({ "name": name, "key": key })),
        false => print(key),
    }
}

fn print_list(keys: &[KeyRow], now: Timestamp, json: bool) -> anyhow::Result<()> {
    if json {
        return keys.iter().try_for_each(print_json);
    }
    if keys.is_empty() {
        return print("no keys are stored; `postern-relay keys create NAME` makes one");
    }
    let width = |cells: &dyn Fn(&KeyRow) -> usize, head: &str| {
        keys.iter().map(cells).max().unwrap_or_default().max(head.len())
    };
    let name = width(&|key| key.name.chars().count(), "NAME");
    let opens = width(&|key| opens(key).len(), "OPENS");
    print(format!(
        "{:<name$}  {:<opens$}  {:<20}  {:<20}  STATE",
        "NAME", "OPENS", "CREATED", "LAST USED"
    ))?;
    keys.iter().try_for_each(|key| {
        print(format!(
            "{:<name$}  {:<opens$}  {:<20}  {:<20}  {}",
            key.name,
            self::opens(key),
            moment(key.created_at),
            key.last_used_at.map_or_else(|| "never".into(), moment),
            state(key, now),
        ))
    })
}

fn opens(key: &KeyRow) -> String {
    key.site.as_ref().map_or_else(|| "operator".into(), |site| format!("site {site}"))
}

fn state(key: &KeyRow, now: Timestamp) -> String {
    match key.ends_at {
        None => "live".into(),
        Some(ends_at) if ends_at > now => format!("live until {}", moment(ends_at)),
        Some(ended_at) => format!("ended {}", moment(ended_at)),
    }
}
