//! Making and opening files.

use std::sync::Arc;

use gfs_core::writer::Start;
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_types::GfsPath;

use crate::client::{Client, parsed, required};
use crate::error::{Error, Result};
use crate::file::File;
use crate::read::Locations;
use crate::write::Writer;

/// How a file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Copies of each chunk, 1 to 8; 0: as the directory says.
    pub copies: u32,
    /// Makes directories on the way that are missing.
    pub parents: bool,
}

impl Client {
    /// Makes a file, to be written from its beginning.
    ///
    /// The name exists at once; data as it is acknowledged ([`File::sync`], [`File::close`]).
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncWriteExt as _;
    ///
    /// let mut file = client.create("/logs/today").await?;
    /// file.write_all(b"hello").await?;
    /// file.close().await?; // on three servers, and the length recorded
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ALREADY_EXISTS`, `NOT_FOUND` (of the directory), `TOO_FEW_SERVERS`.
    pub async fn create(&self, path: &str) -> Result<File> {
        self.create_with(path, CreateOptions::default()).await
    }

    /// [`create`](Self::create), with options.
    ///
    /// # Errors
    /// The same, and `INVALID_ARGUMENT` for an impossible number of copies.
    pub async fn create_with(&self, path: &str, options: CreateOptions) -> Result<File> {
        let path = parsed(path, "create")?;
        let response = self.make(&path, options, false).await?;
        let attributes = required(response.attributes, "create", path.as_str())?;
        let chunk = required(response.chunk, "create", path.as_str())?;
        self.inner.masters.saw_epoch(response.epoch);
        let start = Start {
            inode: attributes.inode,
            writer: self.inner.masters.client_id,
            length: 0,
            chunks: 0,
            last: Some(chunk),
        };
        self.writing(path, attributes, start)
    }

    /// Makes an empty file and leaves it closed: the cheapest way to take a name.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn create_empty(&self, path: &str) -> Result<pb::Attributes> {
        let path = parsed(path, "create")?;
        let response = self.make(&path, CreateOptions::default(), true).await?;
        required(response.attributes, "create", path.as_str())
    }

    async fn make(
        &self,
        path: &GfsPath,
        options: CreateOptions,
        empty: bool,
    ) -> Result<pb::CreateResponse> {
        let inner = &self.inner;
        let mutation = inner.masters.mutation();
        let goal = (options.copies > 0)
            .then_some(pb::Goal { kind: Some(pb::goal::Kind::Copies(options.copies)) });
        let request = pb::CreateRequest {
            header: Some(mutation.header.clone()),
            path: path.to_string(),
            goal,
            parents: options.parents,
            empty,
            place: Some(inner.options.place.clone()),
            ..pb::CreateRequest::default()
        };
        inner
            .masters
            .call(self.deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).create(request).await }
            })
            .await
            .map_err(|detail| Error::of(detail, "create", path))
    }

    /// Opens a file to read it.
    ///
    /// Of a file that somebody writes just now, what is acknowledged can be read.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncReadExt as _;
    ///
    /// let mut text = String::new();
    /// client.open("/logs/today").await?.read_to_string(&mut text).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`.
    pub async fn open(&self, path: &str) -> Result<File> {
        let path = parsed(path, "open")?;
        let response = self.ask_open(&path, false).await?;
        let attributes = required(response.attributes, "open", path.as_str())?;
        let locations = Locations::new(self.clone(), &attributes, response.chunks);
        Ok(File::reading(self.clone(), path, attributes, Arc::new(locations)))
    }

    /// Opens a file to write at its end. One client at a time may.
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`, `BUSY` while another client writes.
    pub async fn open_append(&self, path: &str) -> Result<File> {
        let path = parsed(path, "open for appending")?;
        let response = self.ask_open(&path, true).await?;
        let attributes = required(response.attributes, "open for appending", path.as_str())?;
        let last = response.last;
        let start = Start {
            inode: attributes.inode,
            writer: self.inner.masters.client_id,
            // Opening to write settles the length of the last chunk.
            length: last
                .as_ref()
                .map_or(attributes.length, |last| last.start + u64::from(last.length)),
            chunks: attributes.chunks,
            last,
        };
        self.writing(path, attributes, start)
    }

    async fn ask_open(&self, path: &GfsPath, write: bool) -> Result<pb::OpenResponse> {
        let inner = &self.inner;
        let mutation = write.then(|| inner.masters.mutation());
        let header = match &mutation {
            Some(mutation) => mutation.header.clone(),
            None => inner.masters.header(),
        };
        let request = pb::OpenRequest {
            header: Some(header),
            path: path.to_string(),
            write,
            place: Some(inner.options.place.clone()),
            ..pb::OpenRequest::default()
        };
        let response = inner
            .masters
            .call(self.deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).open(request).await }
            })
            .await
            .map_err(|detail| Error::of(detail, "open", path))?;
        inner.masters.saw_epoch(response.epoch);
        Ok(response)
    }

    fn writing(&self, path: GfsPath, attributes: pb::Attributes, start: Start) -> Result<File> {
        let end = start.length;
        let writer =
            Writer::start(self, start).map_err(|error| Error::from_gfs(error, "write", &path))?;
        Ok(File::writing(self.clone(), path, attributes, writer, end))
    }
}
