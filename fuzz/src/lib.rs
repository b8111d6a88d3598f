//! The programs that the targets run: those of the workspace's tests (`tests/it/support/drive.rs`).

#[path = "../../tests/it/support/drive.rs"]
mod drive;

/// Registers, stores, transactions and page requests, as `bytes` say.
pub fn anything(bytes: &[u8]) {
    drive::anything(bytes);
}

/// Commands to a device that is enabled, with live caches and stalled transactions.
pub fn commands(bytes: &[u8]) {
    drive::commands(bytes);
}
