//! The Linux driver on the device model, caches included, and against recordings of the real one.

mod board;
mod coherence;
mod guests;
mod recorded;
