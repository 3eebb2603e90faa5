//! One file a kind of verb.

mod append;
mod cluster;
mod names;
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
        Verb::Tail(verb) => transfers::tail(&client, &verb).await?,
        Verb::Append(verb) => append::append(&client, verb, format, quiet).await?,
        Verb::Truncate(verb) => {
            client.truncate(&verb.path, verb.length).await?;
        }
        Verb::Locate(verb) => cluster::locate(&client, &verb, format).await?,
        Verb::Status => cluster::status(&client, format).await?,
        Verb::Fsck(verb) => return cluster::fsck(&client, &verb, format).await,
    }
    Ok(0)
}
