//! The first message of a data stream: is it for this cluster, in a protocol we speak?

use crate::node::Node;
use gfs_proto::v1 as pb;
use gfs_types::{ClusterId, ErrorCode, PROTOCOL_VERSION};
use std::time::Duration;

/// How long a stream may take to say what it wants.
pub(crate) const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// Method names of the bulk streams.
pub(crate) const PUSH: &str = "/gfs.v1.Data/Push";
pub(crate) const READ: &str = "/gfs.v1.Data/Read";
pub(crate) const COPY: &str = "/gfs.v1.Data/Copy";

/// An error for a peer.
pub(crate) fn error(code: ErrorCode, text: impl Into<String>) -> pb::ErrorDetail {
    pb::ErrorDetail::new(code, text)
}

impl Node {
    /// Checks a stream's header. Nothing was looked at before. (A caller that has not heard of the
    /// newest epoch is served: chunk versions, not epochs, tell whether what it knows still holds.)
    pub(crate) fn check_header(
        &self,
        header: Option<&pb::StreamHeader>,
    ) -> Result<(), pb::ErrorDetail> {
        let header = header.ok_or_else(|| error(ErrorCode::InvalidArgument, "no header"))?;
        if header.protocol_version != PROTOCOL_VERSION {
            let text = format!(
                "protocol version {} is not {PROTOCOL_VERSION}, which this server speaks",
                header.protocol_version
            );
            return Err(error(ErrorCode::WrongProtocol, text));
        }
        let own = self.volumes.record().cluster.ok_or_else(|| {
            error(ErrorCode::NotReady, "this chunkserver has not joined a cluster yet")
        })?;
        match ClusterId::from_slice(&header.cluster_id) {
            Some(theirs) if theirs == own => Ok(()),
            Some(theirs) => {
                let text = format!("this chunkserver belongs to cluster {own}, not {theirs}");
                Err(error(ErrorCode::WrongCluster, text))
            }
            None => Err(error(ErrorCode::InvalidArgument, "no cluster id")),
        }
    }

    /// The header of this server's own streams.
    pub(crate) fn stream_header(&self) -> pb::StreamHeader {
        let cluster = self.volumes.record().cluster;
        pb::StreamHeader {
            cluster_id: cluster.map(|id| id.to_bytes().to_vec()).unwrap_or_default().into(),
            protocol_version: PROTOCOL_VERSION,
            epoch: self.gate().seen().epoch,
        }
    }
}
