//! The numbered edge cases of the architecture that one translation can show. Each test carries its
//! case's number; `docs/src/develop/testing.md` lists the cases that need commands, queues or caches.

mod faults; // 2, 3, 135–137, 145, 146, 161
mod httu; // 126–134
mod queues; // 10–32
mod registers; // 1, 4–9
mod stage1; // 83–109
mod stage2; // 110–125
mod stalls; // 138–144
mod stream_table; // 33–62
mod substreams; // 63–82
