//! Making and opening files.

use std::sync::Arc;

use gfs_core::writer::Start;
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_types::GfsPath;

use crate::client::{Client, parsed, required};
use crate::error::{Error, Result};
use crate::file::File;
use crate::masters::Masters;
use crate::options::Durability;
use crate::read::Locations;
use crate::write::Writer;

/// How a file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Copies of each chunk, 1 to 8; 0: as the directory says.
    pub copies: u32,
    /// Makes directories on the way that are missing.
    pub parents: bool,
    /// What its acknowledgements stand for; [`Durability::Default`]: as the directory says. With
    /// [`Durability::Disk`], everything that is flushed, synced, closed or appended is on disk.
    pub durability: Durability,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
    Append,
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

    pub(crate) async fn make(
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
            durability: options.durability.proto().into(),
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
        let masters = &self.inner.masters;
        let response = self.ask_open(masters, &path, Right::Read, "open").await?;
        let attributes = required(response.attributes, "open", path.as_str())?;
        let locations = Locations::new(self.clone(), &attributes, response.chunks);
        Ok(File::reading(self.clone(), path, attributes, Arc::new(locations)))
    }

    /// Opens a file to write at its end. One client at a time may, and nobody who
    /// [appends](Self::open_append).
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`, `BUSY` while another client writes or appends.
    pub async fn open_write(&self, path: &str) -> Result<File> {
        const OPERATION: &str = "open for writing";
        let path = parsed(path, OPERATION)?;
        let masters = &self.inner.masters;
        let response = self.ask_open(masters, &path, Right::Write, OPERATION).await?;
        let attributes = required(response.attributes, OPERATION, path.as_str())?;
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

    /// Asks to open a file, as this client of the masters.
    pub(crate) async fn ask_open(
        &self,
        masters: &Masters,
        path: &GfsPath,
        right: Right,
        operation: &'static str,
    ) -> Result<pb::OpenResponse> {
        let mutation = (right != Right::Read).then(|| masters.mutation());
        let header = match &mutation {
            Some(mutation) => mutation.header.clone(),
            None => masters.header(),
        };
        let request = pb::OpenRequest {
            header: Some(header),
            path: path.to_string(),
            write: right == Right::Write,
            append: right == Right::Append,
            place: Some(self.inner.options.place.clone()),
            ..pb::OpenRequest::default()
        };
        let response = masters
            .call(self.deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).open(request).await }
            })
            .await
            .map_err(|detail| Error::of(detail, operation, path))?;
        self.inner.masters.saw_epoch(response.epoch);
        Ok(response)
    }

    fn writing(&self, path: GfsPath, attributes: pb::Attributes, start: Start) -> Result<File> {
        let end = start.length;
        let disk = Durability::Default.is_disk(&attributes);
        let writer = Writer::start(self, start, disk)
            .map_err(|error| Error::from_gfs(error, "write", &path))?;
        Ok(File::writing(self.clone(), path, attributes, writer, end))
    }
}
