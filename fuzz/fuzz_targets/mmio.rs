//! Sequences of register accesses, stores to memory and transactions: whatever software and devices
//! do, the device answers. `cargo fuzz run mmio` in this folder's parent.
#![no_main]

#[path = "../../tests/it/support/drive.rs"]
#[allow(dead_code, reason = "each target runs one of its programs")]
mod drive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drive::anything(bytes));
