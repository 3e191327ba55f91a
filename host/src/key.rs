//! Keys: from a file or from the environment, never from a flag that the process list would show.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Why there is no key; each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither the variable nor the file is given.
    #[error("{name} is not set: put the key into {name}, or into a file that {name}_FILE names")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// The file cannot be read.
    #[error("{name}_FILE names {}, which cannot be read: {cause}", path.display())]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Holds what an HTTP header cannot carry.
    #[error("{name} has a character that a header cannot carry: use visible ASCII characters only")]
    Unusable {
        /// The variable.
        name: &'static str,
    },
}

/// The key from the file, else from the variable; white space around it does not count.
///
/// # Errors
/// A [`KeyError`] that names the setting.
pub fn read(name: &'static str, file: Option<&Path>) -> Result<String, KeyError> {
    let key = match file {
        Some(path) => fs::read_to_string(path).map_err(|cause| KeyError::Unreadable {
            name,
            path: path.to_owned(),
            cause,
        })?,
        None => env::var(name).unwrap_or_default(),
    };
    let key = key.trim();
    if key.is_empty() {
        return Err(KeyError::Missing { name });
    }
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(KeyError::Unusable { name });
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_its_file_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a-key-of-many-characters\n").unwrap();
        let key = read("POSTERN_NO_SUCH_KEY", Some(file.path())).unwrap();
        assert_eq!(key, "a-key-of-many-characters");
    }

    #[test]
    fn what_is_wrong_names_the_setting() {
        let missing = read("POSTERN_NO_SUCH_KEY", None).unwrap_err().to_string();
        assert!(missing.starts_with("POSTERN_NO_SUCH_KEY is not set"), "{missing}");
        let path = Path::new("/nonexistent/key");
        let unreadable = read("POSTERN_NO_SUCH_KEY", Some(path)).unwrap_err().to_string();
        assert!(unreadable.contains("POSTERN_NO_SUCH_KEY_FILE names /nonexistent/key"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a key\nof two lines").unwrap();
        let unusable = read("POSTERN_NO_SUCH_KEY", Some(file.path())).unwrap_err().to_string();
        assert!(unusable.contains("visible ASCII"), "{unusable}");
    }
}
