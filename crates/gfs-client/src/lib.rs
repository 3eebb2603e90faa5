//! The library applications use to read and write files in GFS.
