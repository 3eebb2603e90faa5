//! Errors as messages.

use gfs_types::{ErrorCode, GfsError};

use crate::v1::ErrorDetail;

impl From<GfsError> for ErrorDetail {
    fn from(error: GfsError) -> Self {
        Self { code: error.code as u32, message: error.message, ..Self::default() }
    }
}

impl From<ErrorDetail> for GfsError {
    fn from(detail: ErrorDetail) -> Self {
        Self::new(detail.error_code(), detail.message)
    }
}

impl ErrorDetail {
    /// An error of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        GfsError::new(code, message).into()
    }

    /// The code; an unknown one (a newer peer's) reads as `Internal`.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        ErrorCode::from_number(self.code)
    }
}
