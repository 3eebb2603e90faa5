// Generated from proto/gfs/v1 by `make generate`. Do not edit.
