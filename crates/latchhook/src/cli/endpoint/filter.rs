//! A filter on the command line: as it is, or from a file, or from stdin (`-`).

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, error::ErrorKind};
use vocabulary::Filter;

/// `--filter` and `--filter-file`.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct GivenFilter {
    /// Only events whose full body says this: {"pointer": "/data/message/kind", "in": ["text", "image"]}
    #[arg(long, value_name = "JSON")]
    filter: Option<Filter>,
    /// A file that holds it, or - for stdin
    #[arg(long, value_name = "FILE")]
    filter_file: Option<PathBuf>,
}

impl GivenFilter {
    /// The filter, if there is one.
    pub(super) fn read(self) -> anyhow::Result<Option<Filter>> {
        match self.filter_file {
            Some(file) => from_file(&file).map(Some),
            None => Ok(self.filter),
        }
    }

    /// Whether stdin holds it.
    pub(super) fn is_stdin(&self) -> bool {
        self.filter_file.as_deref().is_some_and(is_stdin)
    }
}

fn from_file(file: &Path) -> anyhow::Result<Filter> {
    let bytes = read(file)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(format!("{} is no UTF-8", file.display())))?;
    text.parse().map_err(|error| wrong(format!("{} holds no filter: {error}", file.display())))
}

/// All that a file or stdin (`-`) holds.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if is_stdin(file) { io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { fs::read(file) };
    read.map_err(|error| wrong(format!("{} cannot be read: {error}", file.display())))
}

pub(super) fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// What was given is wrong, which only reading it has shown: status 2, as for any command line.
pub(super) fn wrong(what: String) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ValueValidation, what).into()
}
