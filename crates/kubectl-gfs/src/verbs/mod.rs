//! One file a kind of verb.

mod balance;
mod cluster;
mod drain;
mod names;
mod setrep;
mod transfers;
mod trash;

use std::time::Duration;

use gfs_client::{Client, ClientOptions};

use crate::flags::{Flags, Verb};

/// Runs the verb; the code is that of a success.
pub(crate) async fn run(flags: Flags) -> anyhow::Result<u8> {
    let options =
        ClientOptions { deadline: Duration::from_secs(flags.timeout), ..ClientOptions::default() };
    let client = Client::connect(flags.endpoint.clone(), options).await?;
    let (format, quiet) = (flags.output, flags.quiet);
    match flags.verb {
        Verb::Mkdir(verb) => names::mkdir(&client, &verb).await?,
        Verb::Ls(verb) => names::ls(&client, &verb, format).await?,
        Verb::Stat(verb) => names::stat(&client, &verb, format).await?,
        Verb::Mv(verb) => names::mv(&client, &verb).await?,
        Verb::Rm(verb) => names::rm(&client, &verb, quiet).await?,
        Verb::Trash(verb) => trash::trash(&client, &verb.verb, format, quiet).await?,
        Verb::Put(verb) => transfers::put(&client, verb, quiet).await?,
        Verb::Get(verb) => transfers::get(&client, verb, quiet).await?,
        Verb::Cat(verb) => transfers::cat(&client, &verb).await?,
        Verb::Setrep(verb) => setrep::setrep(&client, &verb, quiet, format).await?,
        Verb::Locate(verb) => cluster::locate(&client, &verb, format).await?,
        Verb::Status => cluster::status(&client, format).await?,
        Verb::EndRollback(verb) => cluster::end_rollback(&client, &verb, format).await?,
        Verb::Drain(verb) => drain::drain(&client, &verb, flags.timeout, format).await?,
        Verb::Undrain(verb) => drain::undrain(&client, &verb, format).await?,
        Verb::Rebalance(verb) => {
            balance::rebalance(&client, &verb, flags.timeout, format).await?;
        }
        Verb::Fsck(verb) => return cluster::fsck(&client, &verb, format).await,
    }
    Ok(0)
}
