//! The identity (device and inode) of SQLite's file while a service has it open. A file that was deleted or replaced stays
//! open, and every change to it would be lost with it: store.rs asks before each commit and for each new connection.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::database_url::DatabaseUrl;
use super::error::{OutageCause, StoreError};

/// Which file it was when the service opened it; nothing for a database server.
#[derive(Debug, Clone)]
pub struct DatabaseFile(Option<OpenedFile>);

#[derive(Debug, Clone)]
struct OpenedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    /// The file that the URL names now.
    pub fn of(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let Some(path) = url.file() else { return Ok(Self(None)) };
        let metadata = fs::metadata(path).map_err(|error| StoreError::unavailable(OutageCause::Storage, error))?;
        Ok(Self(Some(OpenedFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })))
    }

    /// Fails unless the path still leads to the same file.
    pub fn check(&self) -> Result<(), StoreError> {
        let Some(opened) = &self.0 else { return Ok(()) };
        let problem = match fs::metadata(&opened.path) {
            Ok(now) if (now.dev(), now.ino()) == (opened.device, opened.inode) => return Ok(()),
            Ok(_) => {
                "was replaced by another file; restart doorward if that one is right, or put the former back".to_owned()
            }
            Err(error) => {
                format!("cannot be found any more ({error}); put it back, or restore a backup and restart doorward")
            }
        };
        Err(StoreError::unavailable(OutageCause::Storage, format!("{} {problem}", opened.path.display())))
    }
}
