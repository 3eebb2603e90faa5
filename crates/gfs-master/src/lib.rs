//! The master's shell: committer, sessions, RPC services, HTTP.
