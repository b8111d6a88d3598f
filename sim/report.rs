//! Reports for people: the shell all pages share, and the view of the caches over a scenario. Pages
//! of one command live with it and write into this shell.

pub mod caches;
pub mod page;
