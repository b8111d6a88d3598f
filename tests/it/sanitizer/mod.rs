//! The sanitizer: it reports every planted mistake and nothing on correct programs, and where it is
//! silent caches make no difference.

mod bounds; // what happens at each bound
mod kinds; // each kind of mistake, planted 1,000 times
mod machine;
mod pages; // the example on each kind's page
mod programs; // random programs, correct and careless
