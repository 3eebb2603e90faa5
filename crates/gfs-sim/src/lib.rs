//! Virtual clock, network and disks; checkers; scenarios for gfs-core.
