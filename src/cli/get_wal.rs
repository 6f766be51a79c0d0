//! `barman get-wal`.

use std::path::PathBuf;

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::session::ssh_host;
use super::value;
use crate::archive::get_wal::{self, Form, GetWalError};
use crate::archive::{Places, series, wal_codec};
use crate::base::report::Reporter;
use crate::codec::{Compression, WalCodec};
use crate::config::ServerConfig;

/// Send a WAL file of a server to standard output, or put it into a directory
#[derive(Debug, clap::Args)]
pub(super) struct GetWal {
    /// Put the WAL file into this directory, under its own name
    #[arg(long, short = 'o', value_name = "OUTPUT_DIRECTORY")]
    output_directory: Option<PathBuf>,
    /// Find partial WAL files (.partial) as well
    #[arg(long, short = 'P')]
    partial: bool,
    /// Compress with gzip what is sent
    #[arg(long, short = 'z', visible_short_alias = 'x', overrides_with = "bzip2")]
    gzip: bool,
    /// Compress with bzip2 what is sent
    #[arg(long, short = 'j', overrides_with = "gzip")]
    bzip2: bool,
    /// Send the WAL file as it is stored
    #[arg(long)]
    keep_compression: bool,
    /// List the names of up to this many archived WAL files, from the given one on, and send none
    #[arg(long, short = 'p', value_name = "SIZE", value_parser = value::positive, allow_negative_numbers = true)]
    peek: Option<u32>,
    /// Only test that WAL files of the server can be sent
    #[arg(long, short = 't')]
    test: bool,
    /// Send the WAL files whose names are read from standard input, for barman-wal-restore
    #[arg(long, hide = true, conflicts_with_all = ["output_directory", "peek", "partial"])]
    series: bool,
    #[command(flatten)]
    server: ServerArgument,
    /// The WAL file
    #[arg(value_name = "wal_name")]
    wal_name: String,
}

impl GetWal {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::GET_WAL)? else {
            return Ok(());
        };
        let form = self.form()?;
        if self.test {
            session.output.named("barman.server").info(&format!(
                "Ready to retrieve WAL files from the server {}",
                server.name
            ));
            return Ok(());
        }
        self.send(session, server, form)
    }

    fn send(&self, session: &Session, server: &ServerConfig, form: Form) -> Result<(), Failure> {
        let (places, codec) = (Places::of(server)?, wal_codec(server));
        let name = &self.wal_name;
        if self.series {
            return serve(session, &places, &codec, form);
        }
        if let Some(limit) = self.peek {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            for found in get_wal::peek(&places, &codec, name, limit).map_err(failure)? {
                session.output.named("barman.server").info(&found);
            }
        } else if let Some(directory) = &self.output_directory {
            let (found, path) =
                get_wal::send_to_directory(&places, &codec, name, form, self.partial, directory)
                    .map_err(failure)?;
            session.output.named("barman.server").info(&format!(
                "Sending WAL '{found}' for server '{}' into '{}' file{}",
                server.name,
                path.display(),
                ssh_host()
            ));
        } else {
            let mut output = session.output.bytes()?;
            let found =
                get_wal::send(&places, &codec, name, form, self.partial, &mut output).map_err(failure)?;
            log::info!(
                target: "barman.server",
                "Sending WAL '{found}' for server '{}' to standard output{}",
                server.name,
                ssh_host()
            );
        }
        Ok(())
    }

    /// How the WAL file is sent; of two compressions clap keeps the last.
    fn form(&self) -> Result<Form, Failure> {
        let compression = match (self.gzip, self.bzip2) {
            (true, _) => Some(Compression::Gzip),
            (_, true) => Some(Compression::Bzip2),
            _ => None,
        };
        match (compression, self.keep_compression) {
            (Some(compression), true) => Err(Failure::error(format!(
                "argument `{}` not allowed with argument `keep-compression`",
                compression.name()
            ))),
            (Some(compression), false) => Ok(Form::Compressed(compression)),
            (None, true) => Ok(Form::Stored),
            (None, false) if self.series => Ok(Form::Portable),
            (None, false) => Ok(Form::Plain),
        }
    }
}

/// Sends what is asked for on standard input, until that ends.
fn serve(session: &Session, places: &Places, codec: &WalCodec, form: Form) -> Result<(), Failure> {
    let output = session.output.bytes()?;
    let sent = series::serve(places, codec, form, std::io::stdin().lock(), output)
        .map_err(|error| Failure::error(format!("cannot read the names of WAL files: {error}")))?;
    if sent.count > 0 {
        log::info!(
            target: "barman.server",
            "Sent {} WAL files, '{}' to '{}', for server '{}'{}",
            sent.count,
            sent.first,
            sent.last,
            places.server,
            ssh_host()
        );
    }
    Ok(())
}

fn failure(error: GetWalError) -> Failure {
    Failure::error(format!("{error}{}", ssh_host())).code(error.exit_code())
}
