//! Streams of commands to a device that is enabled, with live caches and stalled transactions.
//! `cargo fuzz run commands` in this folder's parent.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smmu_fuzz::commands(bytes));
