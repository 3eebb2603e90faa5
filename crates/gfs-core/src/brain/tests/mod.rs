//! Tests of the brain as a whole.
