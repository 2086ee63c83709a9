//! What is served beside the two services: health, and a description of everything.

use rientro_wire::limits;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::agent::channel;
use crate::cell::{Cell, within};

const SERVICES: [&str; 2] = ["rientro.v1.AgentService", "rientro.v1.OperatorService"];

/// A load balancer asks whether it is well, and a person's tool what can be called.
#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let cell = Cell::start().await;
    let channel = channel(cell.address()).await;
    let mut health = HealthClient::new(channel.clone());
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = within(health.check(request)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }

    let mut reflection = ServerReflectionClient::new(channel);
    let all = Some(MessageRequest::ListServices(String::new()));
    let asked = tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request: all }]);
    let mut answers = within(reflection.server_reflection_info(asked)).await.unwrap().into_inner();
    let answer = within(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("not a list: {answer:?}") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(SERVICES.iter().all(|service| names.contains(service)), "{names:?}");
}

/// What is asked of the two services beside has a bound far below a library's default.
#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_question_is_refused() {
    let cell = Cell::start().await;
    let channel = channel(cell.address()).await;
    let request = HealthCheckRequest { service: "x".repeat(limits::HEALTH_BYTES_MAX) };
    let refused = within(HealthClient::new(channel.clone()).check(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");

    let name = "x".repeat(limits::REFLECTION_REQUEST_BYTES_MAX);
    let asked = MessageRequest::FileContainingSymbol(name);
    let asked = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers =
        within(reflection.server_reflection_info(tokio_stream::iter([asked]))).await.unwrap().into_inner();
    // The library's server ends the stream over what it cannot read; a symbol that is not there it would answer.
    let answer = within(answers.message()).await;
    assert!(matches!(answer, Ok(None)), "{answer:?}");
}
