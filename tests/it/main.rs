//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access_counts; // accesses of cold walks for every pair of sizes
mod bare; // machines without software: what is asked for is what devices get
mod browser; // every report, opened in Chromium where one is installed
mod cli; // what the command prints, where, and how it ends
mod device; // the device against models: queues, registers, caches
#[cfg(unix)]
mod docs; // every console example of README and book
mod drive; // programs of bytes for the whole device, those of fuzzing among them
mod driver; // the Linux driver on the device model, and against the real one's commands
mod edge; // the numbered edge cases of the architecture
mod examples; // the examples: in reading order, short, their output
mod explained; // what a person reads for each kind of walk
mod fuzz_bytes; // random bytes as tables and configuration: no panic, bounded walks
mod illegal; // every rule a structure can break, each tied to its ID-register bit
mod layout; // bit positions against golden tables typed by another route
mod linux; // machines that run Linux, as their builder makes them
#[cfg(unix)]
mod live; // a QEMU that runs, its recorded session, cores, what is refused
mod recordings; // golden scenarios and snapshots of real machines
mod reference; // reference pages and figures of the book, against the code
mod sanitizer; // drivers watched: every planted mistake found, correct ones silent
mod scenarios; // scenario files: the library, each expectation flipped, mistakes shown
mod schema; // JSON Schemas under docs/
mod support;
mod terminal; // help, colour, logs, progress, completions, manual pages
mod tidy; // the tree itself: layering, orphan files, citations, links, words
mod timing; // the timed machine: published figures, recordings, the functional model, bad input
mod traces; // recorded runs of real drivers, driven through the model
mod unwind; // containers and groups in every order, failing at every step; VMMs
mod vfio_recordings; // recorded VFIO sessions of real kernels
mod vm_memory; // a virtio-style device on rust-vmm, its DMA through the SMMU
mod walk_oracle; // the walker against an independent oracle, over all configurations
mod walk_relations; // metamorphic relations: identity stages, blocks and pages, permissions
