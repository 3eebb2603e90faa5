//! Tests of the whole over real processes.

mod basics;
mod busy;
mod command_line;
mod damage;
mod deaths;
mod full_disk;
mod master;
mod refusals;
mod rollback;
mod too_few;
mod trash;
mod volumes;
