//! The timed machine: against published figures, recordings, the functional model, and bad input.

mod ats; // devices with ATS: the functional model's answers, closed forms, invalidation
mod convert; // traces from one format to another
mod driven; // the ring that the modelled driver maps
mod equal; // timed = functional, and what must hold for any run
mod files; // what `simulate` leaves in its directory
mod input; // bad traces, settings and values
mod replay; // recorded traces of real drivers
mod validation; // V1 to V10
