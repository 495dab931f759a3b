//! Why a case does not hold.

use rtc_interop::lines::Verdict;
use serde_json::{Map, Value};

/// Why a case does not hold on this side.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stack lacks what the case needs.
    Unsupported(&'static str),
    /// Something is not as the case wants it.
    Failed(String),
}

impl Failure {
    /// Notes the failure among the details of the result.
    pub(crate) fn note(self, details: &mut Map<String, Value>) {
        let error = match self {
            Self::Unsupported(reason) => {
                details.insert("reason".to_owned(), reason.into());
                Verdict::UNSUPPORTED.to_owned()
            }
            Self::Failed(error) => error,
        };
        details.insert("error".to_owned(), error.into());
    }
}

impl From<rtc_driver::Error> for Failure {
    fn from(error: rtc_driver::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rtc_driver::SendError> for Failure {
    fn from(error: rtc_driver::SendError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rtc::Error> for Failure {
    fn from(error: rtc::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A [`Failure`] unless the condition holds.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(crate::failure::Failure::Failed(format!($($message)+)));
        }
    };
}
pub(crate) use check;
