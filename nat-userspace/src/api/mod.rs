//! The API: HTTP/1.1 with JSON at a Unix socket. Whoever can write to the socket may change everything,
//! so it is its owner's alone. `http` turns requests into [`Order`]s for the controller's loop and its
//! answers into responses; `openapi` describes both to machines.

mod http;
mod openapi;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, umask};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    desired::Order,
    error::{Error, Result},
};

/// Where the socket is when nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/nat/nat.sock";

/// A socket that nobody is served at yet.
pub struct Listener {
    listener: UnixListener,
    socket: Socket,
}

/// Removed with the last user of it.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Left behind it is no harm: the next controller takes its place.
        let _ = fs::remove_file(&self.0);
    }
}

/// The API at work; it ends with this.
pub struct Serving {
    task: JoinHandle<()>,
    _socket: Socket,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Makes the socket. One that a killed controller has left is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`] when somebody answers there already, or there is something else.
    pub fn bind(path: &Path) -> Result<Self> {
        let error = |what: &str, remedy| Error::Socket {
            path: path.to_owned(),
            what: what.to_owned(),
            remedy,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(Error::io(format!("making {}", folder.display())))?;
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(error(
                    "is something else than a socket",
                    "name another one with --socket",
                ));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(error(
                    "is another controller's",
                    "stop that one first, or name another socket with --socket",
                ));
            }
            Ok(_) => fs::remove_file(path).map_err(Error::io(format!(
                "removing the old socket {}",
                path.display()
            )))?,
            Err(_) => {}
        }
        // From its first moment nobody else may write to it.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(Error::io(format!("binding {}", path.display())))?;
        let socket = Socket(path.to_owned());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(Error::io(format!("binding {}", path.display())))?;
        Ok(Self { listener, socket })
    }

    /// Serves in the background of the runtime, and sends on what is asked.
    ///
    /// # Errors
    ///
    /// When the runtime can't wait for the socket.
    pub fn serve(self, orders: mpsc::Sender<Order>) -> Result<Serving> {
        let listener = tokio::net::UnixListener::from_std(self.listener)
            .map_err(Error::io("waiting for the socket"))?;
        let task = tokio::spawn(async move {
            let served: io::Result<()> = axum::serve(listener, http::router(orders)).await;
            if let Err(error) = served {
                log::error!("the API has ended: {error}");
            }
        });
        Ok(Serving {
            task,
            _socket: self.socket,
        })
    }
}
