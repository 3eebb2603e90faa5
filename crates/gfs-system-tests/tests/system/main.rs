//! Tests of the whole over real processes.

mod append;
mod basics;
mod busy;
mod command_line;
mod damage;
mod deaths;
mod full_disk;
mod master;
mod overwrite;
mod refusals;
mod too_few;
mod trash;
