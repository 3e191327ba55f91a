//! `postern-relay config`: whether the configuration is well, and what it comes to.

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, Subcommand};
use postern_host::EX_CONFIG;
use postern_relay::config::{ConfigError, File, ServeArgs};
use toml::Value;
use tracing::error;

use super::{exit, print};

/// What `postern-relay config` takes.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check everything that `serve` would read; exits 0 only when it would start with it
    Check(Box<ServeArgs>),
    /// Print every setting, and where it comes from; keys are never printed
    Show {
        /// Leave out what tells of this host and its people, so that it can be shown around
        #[arg(long)]
        redact: bool,

        #[command(flatten)]
        serve: Box<ServeArgs>,
    },
}

impl ConfigArgs {
    /// Does what was asked, with the command that it was asked by.
    pub(crate) fn run(self, command: &Command, matches: &ArgMatches, file: File) -> ExitCode {
        let (serve, shown) = match self.action {
            Action::Check(serve) => (serve, None),
            Action::Show { serve, redact } => (serve, Some(redact)),
        };
        if let Some(redact) = shown
            && let Err(failure) = show(command, matches, &file, redact)
        {
            return exit(Err(failure));
        }
        match check(*serve, file) {
            Ok(()) if shown.is_some() => ExitCode::SUCCESS,
            Ok(()) => exit(print("the configuration is well").map(|()| true)),
            Err(problem) => {
                error!("{problem}");
                ExitCode::from(EX_CONFIG)
            }
        }
    }
}

fn check(serve: ServeArgs, file: File) -> Result<(), ConfigError> {
    serve.into_config(file.sites).map(|_| ())
}

/// The settings as a configuration file would have them.
fn show(command: &Command, matches: &ArgMatches, file: &File, redact: bool) -> anyhow::Result<()> {
    let Some((matches, args)) = innermost(command, matches) else { return Ok(()) };
    for arg in args.iter().filter(|arg| arg.get_env().is_some()) {
        let name = arg.get_id().as_str();
        let Some(value) = value(matches, name) else { continue };
        let source = source(matches, name, file);
        let tells = redact && source != "default" && value.is_str();
        let value = if tells { Value::from("…") } else { value };
        print(format!("{:<44} # {source}", format!("{name} = {value}")))?;
    }
    for site in &file.sites {
        print(format!("\n[[site]]\nid = {}", Value::from(site.id.as_str())))?;
        if !redact {
            let rest = toml::Table::try_from(site)?;
            for (name, value) in rest.iter().filter(|(name, _)| *name != "id") {
                print(format!("{name} = {value}"))?;
            }
        }
    }
    Ok(())
}

/// The subcommand that was given in the end, and its flags.
fn innermost<'a>(
    command: &'a Command,
    matches: &'a ArgMatches,
) -> Option<(&'a ArgMatches, Vec<&'a Arg>)> {
    let (mut command, mut matches) = (command, matches);
    while let Some((name, inner)) = matches.subcommand() {
        (command, matches) = (command.find_subcommand(name)?, inner);
    }
    Some((matches, command.get_arguments().collect()))
}

fn value(matches: &ArgMatches, name: &str) -> Option<Value> {
    let raw: Vec<_> = matches.get_raw(name)?.map(|part| part.to_string_lossy()).collect();
    let raw = raw.join(",");
    let number = raw.parse().map(Value::Integer).ok();
    let flag = raw.parse().map(Value::Boolean).ok();
    Some(number.or(flag).unwrap_or(Value::String(raw)))
}

fn source(matches: &ArgMatches, name: &str, file: &File) -> &'static str {
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => "flag",
        Some(ValueSource::EnvVariable) => "environment",
        _ if file.settings.contains_key(name) => "file",
        _ => "default",
    }
}
