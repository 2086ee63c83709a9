//! How a refused message is answered over gRPC, and how what to do about a failure goes with it.

use rientro_types::Advice;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::ConvertError;

/// The status of a message that was refused: `INVALID_ARGUMENT`, with the path of the field in the text and, for tools, as a
/// `BadRequest` detail. Sending the same message again cannot help.
#[must_use]
pub fn invalid_argument(error: &ConvertError) -> Status {
    let details = ErrorDetails::with_bad_request_violation(&error.field, error.problem.to_string());
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// Whose words a detail has, for tools that read details of several parties.
const DOMAIN: &str = "rientro";
/// The reason of a detail that says what to do.
const ADVISED: &str = "ADVISED";
/// What to do, in such a detail.
const NEXT: &str = "next";

/// The status of a call that failed, and what to do about it: what is wrong is its text, what to do a detail of its own, so that
/// people can read them as two lines and machines as two values.
#[must_use]
#[allow(clippy::disallowed_types, reason = "tonic-types asks for one; with a single pair it has no order")]
pub fn advised(code: Code, what: impl Into<String>, next: impl Into<String>) -> Status {
    let advice = std::collections::HashMap::from([(NEXT.to_owned(), next.into())]);
    Status::with_error_details(code, what, ErrorDetails::with_error_info(ADVISED, DOMAIN, advice))
}

/// The status of a call that failed, with the advice about it.
#[must_use]
pub fn advising(code: Code, advice: Advice) -> Status {
    match advice.next {
        Some(next) => advised(code, advice.what, next),
        None => Status::new(code, advice.what),
    }
}

/// What to do about a failure, when whoever answered said so.
#[must_use]
pub fn advice(status: &Status) -> Option<String> {
    let mut info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    info.metadata.remove(NEXT)
}

impl From<ConvertError> for Status {
    fn from(error: ConvertError) -> Self {
        invalid_argument(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    #[test]
    fn tells_the_field_in_words_and_as_a_detail() {
        let error = ConvertError { field: "plan.name".to_owned(), problem: Problem::Empty };
        let status = invalid_argument(&error);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "plan.name is empty"));
        let details = status.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, "plan.name");
        assert_eq!(advice(&status), None);
    }

    #[test]
    fn what_to_do_goes_beside_what_is_wrong() {
        let status = advised(Code::NotFound, "there is no shard x", "`rientro shard list` shows all");
        assert_eq!(status.message(), "there is no shard x");
        assert_eq!(advice(&status).as_deref(), Some("`rientro shard list` shows all"));
        assert_eq!(advice(&Status::not_found("x")), None);
    }
}
