//! The chunk side of the brain: chunk table, servers and sessions, failure detector, version
//! changes, placement, repair, incidents.
