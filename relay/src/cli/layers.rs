//! Settings in layers: flags over environment over the configuration file over defaults.
//!
//! What the file says becomes the default of the flag of that name, so that every setting has one
//! name, one check and one sentence for what is wrong with it.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use postern_relay::config::{File, FileError};

/// Reads the command line and, where one is named, the configuration file.
///
/// # Errors
/// A [`FileError`] that names the file. A command line that is wrong ends the process, as clap does.
pub(crate) fn parse(command: Command) -> Result<(ArgMatches, File), FileError> {
    let given = command.clone().get_matches();
    let Some(path) = given.get_one::<PathBuf>("config") else {
        return Ok((given, File::default()));
    };
    let file = File::read(path)?;
    let command = with_defaults(command, path, &file)?;
    Ok((command.get_matches(), file))
}

/// The command with what the file says as its defaults.
fn with_defaults(command: Command, path: &Path, file: &File) -> Result<Command, FileError> {
    let mut command = command;
    for (name, value) in &file.settings {
        if !takes(&command, name) {
            let (path, name) = (path.to_owned(), name.clone());
            return Err(FileError::UnknownSetting { path, name });
        }
        command = with_default(command, name, value);
    }
    Ok(command)
}

/// Whether some command has a flag of this name that a file may set.
fn takes(command: &Command, name: &str) -> bool {
    let is_setting =
        |arg: &clap::Arg| arg.get_id() == name && arg.get_env().is_some() && name != "config";
    command.get_arguments().any(is_setting)
        || command.get_subcommands().any(|command| takes(command, name))
}

fn with_default(command: Command, name: &str, value: &str) -> Command {
    let has_it = command.get_arguments().any(|arg| arg.get_id() == name);
    let command = match has_it {
        true => command.mut_arg(name, |arg| arg.default_value(value.to_owned())),
        false => command,
    };
    command.mut_subcommands(|inner| with_default(inner, name, value))
}
