//! What was removed: looking at it, bringing it back, giving it up.

use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_types::ErrorCode;

use crate::client::{Client, ask, parsed};
use crate::error::{Error, Result};

/// A page of the trash.
#[derive(Clone, Debug, Default)]
pub struct Trash {
    /// What was removed, in order of inodes. An entry is what one call removed: a file, or a
    /// directory with all that was in it.
    pub entries: Vec<pb::TrashEntry>,
    /// Ask again with the last entry's inode to go on.
    pub more: bool,
}

/// The id of an entry of the trash; 0 for one that says nothing of itself.
fn inode_of(entry: &pb::TrashEntry) -> u64 {
    entry.attributes.as_ref().map_or(0, |attributes| attributes.inode)
}

impl Client {
    /// One page of the trash: entries after the inode `after` (0: from the first), at most `limit`
    /// (0: as many as the master likes).
    ///
    /// # Errors
    /// `UNAVAILABLE` when no master leads.
    pub async fn trash_page(&self, after: u64, limit: u32) -> Result<Trash> {
        let header = Some(self.inner.masters.header());
        let request = pb::ListTrashRequest { header, after, limit };
        let response = ask!(self, MetadataClient, list_trash, request)
            .await
            .map_err(|detail| Error::of(detail, "list", "the trash"))?;
        Ok(Trash { entries: response.entries, more: response.more })
    }

    /// All entries of the trash, in order of inodes. For a very large trash use
    /// [`trash_page`](Self::trash_page).
    ///
    /// # Errors
    /// `UNAVAILABLE` when no master leads.
    pub async fn trash(&self) -> Result<Vec<pb::TrashEntry>> {
        let mut entries = Vec::new();
        let mut after = 0;
        loop {
            let page = self.trash_page(after, 0).await?;
            let last = page.entries.last().map(inode_of);
            entries.extend(page.entries);
            match last {
                Some(last) if page.more => after = last,
                _ => return Ok(entries),
            }
        }
    }

    /// What was removed last of what had this path. Looks through the whole trash.
    ///
    /// # Errors
    /// `NOT_FOUND` if nothing that had it is in the trash.
    pub async fn find_in_trash(&self, path: &str) -> Result<pb::TrashEntry> {
        let path = parsed(path, "find in the trash")?;
        let mut newest: Option<pb::TrashEntry> = None;
        let mut after = 0;
        loop {
            let page = self.trash_page(after, 0).await?;
            after = page.entries.last().map_or(0, inode_of);
            for entry in page.entries.into_iter().filter(|entry| entry.path == path.as_str()) {
                // Of the same moment the one made later.
                if newest.as_ref().is_none_or(|newest| newest.deleted_at <= entry.deleted_at) {
                    newest = Some(entry);
                }
            }
            if !page.more {
                return newest.ok_or_else(|| {
                    let text = "nothing that had this path is in the trash";
                    Error::new(ErrorCode::NotFound, "find", &path, text)
                });
            }
        }
    }

    /// Brings an entry of the trash back, whole and with the inodes it had: to `path`, or to the
    /// path it had if that is `None`. Missing directories above it are made. Returns where it is
    /// now.
    ///
    /// A file that was removed while it was written comes back with all that was acknowledged. Its
    /// writer may go on, if it has not failed meanwhile; if it is gone, others may write the file as
    /// soon as it was silent for a minute.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
    /// client.remove("/models/draft").await?;
    /// let entry = client.find_in_trash("/models/draft").await?;
    /// let inode = entry.attributes.unwrap_or_default().inode;
    /// client.restore_trash(inode, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NOT_FOUND` if it is not in the trash (any more), `ALREADY_EXISTS` if the path is taken: it
    /// then stays in the trash.
    pub async fn restore_trash(&self, inode: u64, path: Option<&str>) -> Result<String> {
        let path = match path {
            Some(path) => parsed(path, "restore to")?.to_string(),
            None => String::new(),
        };
        let shown = if path.is_empty() {
            format!("inode {inode}")
        } else {
            format!("inode {inode} to {path}")
        };
        let mutation = self.inner.masters.mutation();
        let header = Some(mutation.header.clone());
        let request = pb::RestoreTrashRequest { header, inode, path };
        let response = ask!(self, MetadataClient, restore_trash, request)
            .await
            .map_err(|detail| Error::of(detail, "restore", shown))?;
        Ok(response.path)
    }

    /// Gives up everything in the trash, for good. Returns how many files and directories that were.
    /// The chunkservers drop the chunks a little later.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no master leads; some of it may be gone by then.
    pub async fn empty_trash(&self) -> Result<u64> {
        let mut removed = 0;
        loop {
            let page = self.give_up(Vec::new()).await?;
            removed += page.removed;
            if !page.more {
                return Ok(removed);
            }
        }
    }

    /// Gives up one entry of the trash, for good. Returns how many files and directories that were.
    ///
    /// # Errors
    /// `NOT_FOUND` if it is not in the trash (any more).
    pub async fn empty_trash_entry(&self, inode: u64) -> Result<u64> {
        if inode == 0 {
            let text = "inode 0 is not in the trash";
            return Err(Error::new(ErrorCode::NotFound, "give up", "inode 0", text));
        }
        Ok(self.give_up(vec![inode]).await?.removed)
    }

    async fn give_up(&self, inodes: Vec<u64>) -> Result<pb::EmptyTrashResponse> {
        let shown = match inodes.first() {
            Some(inode) => format!("inode {inode}"),
            None => "the trash".to_owned(),
        };
        let mutation = self.inner.masters.mutation();
        let header = Some(mutation.header.clone());
        let request = pb::EmptyTrashRequest { header, inodes };
        ask!(self, MetadataClient, empty_trash, request)
            .await
            .map_err(|detail| Error::of(detail, "give up", shown))
    }
}
