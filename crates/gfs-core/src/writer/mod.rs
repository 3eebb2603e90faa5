//! A client that writes a file.
