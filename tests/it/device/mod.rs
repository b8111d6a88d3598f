//! The device against models: queues, registers, caches, invalidation, replacement.

mod caches; // caches on = caches off, under drivers that invalidate
mod driver; // a driver in miniature
mod exact; // each command removes what it names, and nothing else
mod invalidate; // what a driver must invalidate, in every form
mod listing; // what the caches are said to hold is what hits
mod queues; // event, PRI and command queue against plain queues
mod registers; // the register file against a table of its own
mod replacement; // who leaves a full set
mod shapes; // shapes of its tables, and its source of choices
mod streams; // the STEs and CDs of that driver
