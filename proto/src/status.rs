//! How a refused message is answered over gRPC.

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
    }
}
