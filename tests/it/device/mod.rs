//! The device against models: queues, registers, caches, invalidation, replacement.

mod caches; // caches on = caches off, under drivers that invalidate
mod driver; // a driver in miniature
mod invalidate; // what it must invalidate, in every form
