//! Attach, detach, SET and their undoing on the whole machine: explored, at random, and as a VMM
//! does it.

mod command;
mod exhaustive;
mod random;
mod steps;
mod topology;
