//! GFS from the command line: kubectl plugin and stand-alone.
