//! The namespace: everything but the bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _, stream};
use gfs_process::Random;
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::admin_client::AdminClient;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_transport::Dialer;
use gfs_types::{ClusterId, ErrorCode, Geometry, GfsPath, PROTOCOL_VERSION};
use rand::Rng as _;

use crate::error::{Error, Result};
use crate::masters::Masters;
use crate::options::{ClientOptions, RemoveOptions};
use crate::write::Buffers;

/// A client of one cluster. Cheap to clone; clones share connections and caches.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) deadline: Duration,
}

pub(crate) struct Inner {
    pub(crate) masters: Arc<Masters>,
    /// Where ids come from.
    random: Mutex<Random>,
    pub(crate) dialer: Dialer,
    pub(crate) options: ClientOptions,
    pub(crate) geometry: Geometry,
    pub(crate) buffers: Arc<Buffers>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cluster", &self.inner.masters.cluster()).finish()
    }
}

impl Inner {
    /// The masters for one more client: who appends or overwrites does so under an id of its own,
    /// so that several in one process do not take each other's numbers.
    pub(crate) fn another_client(&self) -> Arc<Masters> {
        let id = self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u64().max(1);
        Arc::new(self.masters.for_another(id))
    }
}

/// A page of a directory.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Entries in byte order of their names.
    pub entries: Vec<pb::Entry>,
    /// Ask again with the last name to go on.
    pub more: bool,
}

/// Calls the Metadata service, with the same message at each try.
macro_rules! ask {
    ($client:expr, $service:ident, $method:ident, $request:expr) => {{
        let request = $request;
        $client.inner.masters.call($client.deadline, move |channel| {
            let request = request.clone();
            async move { $service::new(channel).$method(request).await }
        })
    }};
}

pub(crate) use ask;

impl Client {
    /// Connects to a cluster through any of its masters' addresses (`host:port`).
    ///
    /// ```no_run
    /// # async fn example() -> gfs_client::Result<()> {
    /// use gfs_client::{Client, ClientOptions};
    ///
    /// let client = Client::connect(["127.0.0.1:7000"], ClientOptions::default()).await?;
    /// client.mkdir_all("/models/2026").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UNAVAILABLE` when no leading master answers within the deadline, `WRONG_CLUSTER` or
    /// `WRONG_PROTOCOL` when the one that answers is another cluster or release.
    pub async fn connect<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        options: ClientOptions,
    ) -> Result<Self> {
        let endpoints: Vec<String> = endpoints.into_iter().map(Into::into).collect();
        let shown = endpoints.join(",");
        let fail = |code, text: &str| Error::new(code, "connect to", &shown, text);
        if endpoints.is_empty() {
            return Err(fail(ErrorCode::InvalidArgument, "give at least one endpoint host:port"));
        }
        let dialer = Dialer::new(Arc::clone(&options.connector), options.transport.clone());
        for endpoint in &endpoints {
            dialer
                .peer(endpoint)
                .map_err(|error| fail(ErrorCode::InvalidArgument, &error.to_string()))?;
        }
        let mut random = match options.seed {
            Some(seed) => gfs_process::random_from_seed(seed),
            None => gfs_process::random_from_os()
                .map_err(|error| fail(ErrorCode::Internal, &error.to_string()))?,
        };
        let client_id = random.next_u64().max(1);
        let masters = Masters::new(dialer.clone(), endpoints, client_id);
        if let Some(cluster) = options.cluster {
            masters.set_cluster(cluster);
        }
        let request = pb::ConnectRequest {
            header: Some(masters.header()),
            protocol_version: PROTOCOL_VERSION,
            place: Some(options.place.clone()),
        };
        let deadline = options.deadline;
        let answer = masters
            .call(deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).connect(request).await }
            })
            .await
            .map_err(|detail| Error::of(detail, "connect to", &shown))?;
        if answer.protocol_version != PROTOCOL_VERSION {
            return Err(fail(
                ErrorCode::WrongProtocol,
                &format!(
                    "the cluster speaks protocol {}, this client {PROTOCOL_VERSION}; use a client \
                     of the cluster's release",
                    answer.protocol_version
                ),
            ));
        }
        let cluster = ClusterId::from_slice(&answer.cluster_id)
            .ok_or_else(|| fail(ErrorCode::Internal, "the master sent no cluster id"))?;
        let geometry = Geometry::new(answer.chunk_size.into())
            .map_err(|error| fail(ErrorCode::Internal, &error.to_string()))?;
        masters.set_cluster(cluster);
        masters.saw_epoch(answer.epoch);
        masters.learn(answer.master_addresses);
        let buffers = Arc::new(Buffers::default());
        Ok(Self {
            inner: Arc::new(Inner {
                masters: Arc::new(masters),
                random: Mutex::new(random),
                dialer,
                options,
                geometry,
                buffers,
            }),
            deadline,
        })
    }

    /// The same client with another deadline for its calls and for the files opened through it; see
    /// [`ClientOptions::deadline`].
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), deadline }
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.inner.masters.cluster()
    }

    /// How the cluster cuts files.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.inner.geometry
    }

    /// Attributes of a file or directory. Of a file that somebody writes, the length is what its
    /// servers acknowledged; if they cannot be asked in time, what the master was told last.
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_A_DIRECTORY`.
    pub async fn stat(&self, path: &str) -> Result<pb::Attributes> {
        let response = self.stat_response(path).await?;
        let mut attributes = required(response.attributes, "stat", path)?;
        attributes.length = self.true_length(&attributes, response.last).await;
        Ok(attributes)
    }

    /// Length of a file of which somebody may be writing the last chunk.
    async fn true_length(&self, file: &pb::Attributes, last: Option<pb::ChunkLocation>) -> u64 {
        if let Some(last) = last.filter(|_| file.open_for_write)
            && let Some(length) = self.inner.confirmed_length(&last).await
        {
            return file.length.max(last.start + u64::from(length));
        }
        file.length
    }

    /// Length of an open file.
    pub(crate) async fn length_of(&self, inode: u64) -> Result<u64, pb::ErrorDetail> {
        let header = Some(self.inner.masters.header());
        let request = pb::StatRequest { header, path: String::new(), inode };
        let response = ask!(self, MetadataClient, stat, request).await?;
        let file = response.attributes.unwrap_or_default();
        Ok(self.true_length(&file, response.last).await)
    }

    pub(crate) async fn stat_response(&self, path: &str) -> Result<pb::StatResponse> {
        let path = parsed(path, "stat")?;
        let request = pb::StatRequest {
            header: Some(self.inner.masters.header()),
            path: path.to_string(),
            inode: 0,
        };
        let response = ask!(self, MetadataClient, stat, request)
            .await
            .map_err(|detail| Error::of(detail, "stat", &path))?;
        self.inner.masters.saw_epoch(response.epoch);
        Ok(response)
    }

    /// Whether something is under the path.
    ///
    /// # Errors
    /// Anything but that it is not there.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One page of a directory: names after `after` (empty: from the first), at most `limit` (0: as
    /// many as the master likes).
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_A_DIRECTORY`.
    pub async fn list_page(&self, path: &str, after: &str, limit: u32) -> Result<Page> {
        let path = parsed(path, "list")?;
        let request = pb::ListRequest {
            header: Some(self.inner.masters.header()),
            path: path.to_string(),
            after: after.to_owned(),
            limit,
        };
        let response = ask!(self, MetadataClient, list, request)
            .await
            .map_err(|detail| Error::of(detail, "list", &path))?;
        Ok(Page { entries: response.entries, more: response.more })
    }

    /// All entries of a directory, in byte order of their names. For very large directories use
    /// [`list_page`](Self::list_page).
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_A_DIRECTORY`.
    pub async fn list(&self, path: &str) -> Result<Vec<pb::Entry>> {
        let mut entries = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.list_page(path, &after, 0).await?;
            let last = page.entries.last().map(|entry| entry.name.clone());
            entries.extend(page.entries);
            match last {
                Some(last) if page.more => after = last,
                _ => return Ok(entries),
            }
        }
    }

    /// The entries of a directory, in byte order of their names, asked for page by page as they are
    /// taken.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
    /// use futures_util::TryStreamExt as _;
    ///
    /// let mut entries = std::pin::pin!(client.entries("/logs"));
    /// while let Some(entry) = entries.try_next().await? {
    ///     println!("{}", entry.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An item is an error where a page cannot be had: `NOT_FOUND`, `NOT_A_DIRECTORY`.
    pub fn entries(&self, path: &str) -> impl Stream<Item = Result<pb::Entry>> + Send + use<> {
        let (client, path) = (self.clone(), path.to_owned());
        let pages = stream::try_unfold(Some(String::new()), move |after| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                let Some(after) = after else { return Ok(None) };
                let page = client.list_page(&path, &after, 0).await?;
                let last = page.entries.last().filter(|_| page.more);
                let next = last.map(|entry| entry.name.clone());
                Ok(Some((stream::iter(page.entries.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten()
    }

    /// Makes a directory in an existing one.
    ///
    /// # Errors
    /// `ALREADY_EXISTS`, `NOT_FOUND` (of the parent), `NOT_A_DIRECTORY`.
    pub async fn mkdir(&self, path: &str) -> Result<pb::Attributes> {
        self.make_directory(path, false).await
    }

    /// Makes a directory and those above it that are missing; an existing one is fine.
    ///
    /// # Errors
    /// `NOT_A_DIRECTORY` when a file is in the way.
    pub async fn mkdir_all(&self, path: &str) -> Result<pb::Attributes> {
        self.make_directory(path, true).await
    }

    async fn make_directory(&self, path: &str, parents: bool) -> Result<pb::Attributes> {
        let path = parsed(path, "make the directory")?;
        let mutation = self.inner.masters.mutation();
        let request = pb::MkdirRequest {
            header: Some(mutation.header.clone()),
            path: path.to_string(),
            parents,
            parent_inode: 0,
        };
        let response = ask!(self, MetadataClient, mkdir, request)
            .await
            .map_err(|detail| Error::of(detail, "make the directory", &path))?;
        required(response.attributes, "make the directory", path.as_str())
    }

    /// Renames a file or directory, atomically, also across directories. With `replace` a file (or
    /// an empty directory, by a directory) that has the new name gives way (into the trash, like
    /// what is removed), else it is an error.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ALREADY_EXISTS`, `INVALID_ARGUMENT` for a directory into its own subtree.
    pub async fn rename(&self, from: &str, to: &str, replace: bool) -> Result<pb::Attributes> {
        let from = parsed(from, "rename")?;
        let to = parsed(to, "rename to")?;
        let mutation = self.inner.masters.mutation();
        let request = pb::RenameRequest {
            header: Some(mutation.header.clone()),
            from: from.to_string(),
            to: to.to_string(),
            inode: 0,
            replaced_inode: 0,
            replace,
        };
        let response = ask!(self, MetadataClient, rename, request)
            .await
            .map_err(|detail| Error::of(detail, "rename", format!("{from} to {to}")))?;
        required(response.attributes, "rename", from.as_str())
    }

    /// Removes a file or an empty directory. It goes into the trash for the cluster's trash period,
    /// and can be [restored](Self::restore_trash) until then. A client that is writing the file
    /// cannot go on; what it had acknowledged stays with the file.
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_EMPTY`.
    pub async fn remove(&self, path: &str) -> Result<u64> {
        self.remove_with(path, RemoveOptions::default()).await
    }

    /// Removes a file, or a directory with all that is in it, as one entry of the trash. Returns how
    /// many files and directories that were.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn remove_all(&self, path: &str) -> Result<u64> {
        let options = RemoveOptions { recursive: true, ..RemoveOptions::default() };
        self.remove_with(path, options).await
    }

    /// [`remove`](Self::remove), with options. Returns how many files and directories that were.
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_EMPTY`.
    pub async fn remove_with(&self, path: &str, options: RemoveOptions) -> Result<u64> {
        let path = parsed(path, "remove")?;
        let mutation = self.inner.masters.mutation();
        let request = pb::RemoveRequest {
            header: Some(mutation.header.clone()),
            path: path.to_string(),
            inode: 0,
            recursive: options.recursive,
            skip_trash: options.skip_trash,
        };
        let response = ask!(self, MetadataClient, remove, request)
            .await
            .map_err(|detail| Error::of(detail, "remove", &path))?;
        Ok(response.removed)
    }

    /// Where the chunks of a file are.
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`.
    pub async fn locate(&self, path: &str) -> Result<Vec<pb::ChunkLocation>> {
        let attributes = self.stat(path).await?;
        if attributes.r#type() != pb::FileType::File {
            return Err(Error::new(
                ErrorCode::IsADirectory,
                "locate",
                path,
                "only files have chunks",
            ));
        }
        let mut chunks: Vec<pb::ChunkLocation> = Vec::new();
        loop {
            let offset = chunks.last().map_or(0, |last| last.start + u64::from(last.length));
            let page = self
                .locations(attributes.inode, offset, 1000)
                .await
                .map_err(|detail| Error::of(detail, "locate", path))?;
            let known = chunks.last().map(|last| last.index);
            let fresh: Vec<_> = page
                .chunks
                .into_iter()
                .filter(|chunk| known.is_none_or(|known| chunk.index > known))
                .collect();
            if fresh.is_empty() {
                return Ok(chunks);
            }
            chunks.extend(fresh);
        }
    }

    pub(crate) async fn locations(
        &self,
        inode: u64,
        offset: u64,
        limit: u32,
    ) -> Result<pb::LocateResponse, pb::ErrorDetail> {
        let request = pb::LocateRequest {
            header: Some(self.inner.masters.header()),
            inode,
            offset,
            limit,
            place: Some(self.inner.options.place.clone()),
        };
        ask!(self, MetadataClient, locate, request).await
    }

    /// Health of the cluster on one page.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no master leads.
    pub async fn status(&self) -> Result<pb::StatusResponse> {
        let request = pb::StatusRequest { header: Some(self.inner.masters.header()) };
        ask!(self, AdminClient, status, request)
            .await
            .map_err(|detail| Error::of(detail, "ask the status of", "the cluster"))
    }

    /// Every chunkserver the cluster knows.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no master leads.
    pub async fn servers(&self) -> Result<Vec<pb::ServerStatus>> {
        let request = pb::ListServersRequest { header: Some(self.inner.masters.header()) };
        let answer = ask!(self, AdminClient, list_servers, request).await;
        let answer =
            answer.map_err(|detail| Error::of(detail, "list the servers of", "the cluster"))?;
        Ok(answer.servers)
    }

    /// Checks namespace, chunk table and reports against each other, below `path`. Changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn fsck(&self, path: &str, limit: u32) -> Result<pb::FsckResponse> {
        let path = parsed(path, "check")?;
        let request = pb::FsckRequest {
            header: Some(self.inner.masters.header()),
            path: path.to_string(),
            limit,
        };
        ask!(self, AdminClient, fsck, request)
            .await
            .map_err(|detail| Error::of(detail, "check", &path))
    }
}

pub(crate) fn parsed(path: &str, operation: &'static str) -> Result<GfsPath> {
    GfsPath::parse(path)
        .map_err(|error| Error::new(ErrorCode::InvalidArgument, operation, path, error.to_string()))
}

pub(crate) fn required<T>(value: Option<T>, operation: &'static str, subject: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::new(ErrorCode::Internal, operation, subject, "the master's answer is incomplete")
    })
}
