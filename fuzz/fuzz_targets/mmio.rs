//! Sequences of register accesses, stores to memory and transactions: whatever software and devices
//! do, the device answers. `cargo fuzz run mmio` in this folder's parent.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smmu_fuzz::anything(bytes));
