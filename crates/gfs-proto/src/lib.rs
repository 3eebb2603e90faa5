//! Messages and services generated from `proto/gfs/v1`. Never edited by hand: `make generate`.
