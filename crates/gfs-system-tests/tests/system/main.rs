//! Tests of the whole over real processes.

mod balance;
mod basics;
mod busy;
mod command_line;
mod damage;
mod deaths;
mod drain;
mod full_disk;
mod master;
mod refusals;
mod rollback;
mod too_few;
mod trash;
mod volumes;
