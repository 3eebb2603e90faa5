//! A client that reads a file: which replica next, and what a failure means.
