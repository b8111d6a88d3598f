//! The sanitizer: it reports every planted mistake and nothing on correct programs, and where it is
//! silent caches make no difference.

mod bounds; // what happens at each bound
mod correct; // correct sequences that look like mistakes
mod kinds; // stale, torn, unsynced, needless: each planted 1,000 times
mod live; // tags used again, break-before-make: likewise
mod machine;
mod pages; // the example on each kind's page
mod programs; // random programs, correct and careless
mod scene;
