//! Streams of commands to a device that is enabled, with live caches and stalled transactions.
//! `cargo fuzz run commands` in this folder's parent.
#![no_main]

#[path = "../../tests/it/support/drive.rs"]
#[allow(dead_code, reason = "each target runs one of its programs")]
mod drive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drive::commands(bytes));
