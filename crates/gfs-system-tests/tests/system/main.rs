//! Tests of the whole over real processes.

mod append;
mod balance;
mod basics;
mod bounds;
mod busy;
mod command_line;
mod damage;
mod deaths;
mod drain;
mod full_disk;
mod master;
mod overwrite;
mod refusals;
mod rollback;
mod too_few;
mod trash;
mod volumes;
