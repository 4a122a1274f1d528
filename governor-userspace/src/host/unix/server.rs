//! A server behind a socket that governor took over: reached by its inode, whatever that is called by now.

use super::inode::Inode;
use super::run_as::{self, Ids, Starter};
use crate::engine::model::Endpoint;
use crate::host::kernel::Exemption;
use arc_swap::ArcSwapOption;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One socket's server. Started anew it is the same one, at another inode.
#[derive(Debug)]
pub struct Server {
    path: Arc<str>,
    starter: Starter,
    inode: ArcSwapOption<Inode>,
}

impl Server {
    pub(super) fn new(path: &Path, starter: Starter) -> Self {
        Self { path: path.to_string_lossy().into(), starter, inode: ArcSwapOption::empty() }
    }

    pub(super) fn is_at(&self, inode: Inode) {
        self.inode.store(Some(Arc::new(inode)));
    }

    pub(super) fn inode(&self) -> Option<Arc<Inode>> {
        self.inode.load_full()
    }

    pub fn path(&self) -> Arc<str> {
        self.path.clone()
    }

    /// Device and inode number of the server's own socket file; `None` before there is one.
    pub fn file(&self) -> Option<(u64, u64)> {
        self.inode().map(|inode| (inode.id().device, inode.id().inode))
    }

    /// Where clients think they connect.
    pub fn endpoint(&self) -> Endpoint {
        // `.s.PGSQL.5432`
        let port = self.path.rsplit('.').next().and_then(|end| end.parse().ok()).unwrap_or(0);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Endpoint { socket: Some(self.path.clone()), ..Endpoint::tcp(address, port) }
    }

    /// A connection on which the server sees `ids` at the other end, marked as governor's own. Called within a tokio
    /// runtime; the result is non-blocking.
    pub async fn connect(&self, ids: Ids, limit: Duration, own: &Exemption) -> io::Result<UnixStream> {
        let Some(inode) = self.inode() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no server has this socket"));
        };
        run_as::connect_as(&self.starter, &inode.path(), ids, limit, own).await
    }
}
