//! The examples of the documentation, run.

use crate::setup::Setup;

#[allow(dead_code, unreachable_pub, reason = "it has a main of its own")]
#[path = "../../examples/hello.rs"]
mod hello;

#[allow(dead_code, unreachable_pub, reason = "it has a main of its own")]
#[path = "../../examples/records.rs"]
mod records;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_says_what_it_wrote() {
    let setup = Setup::new(3).await;
    let text = hello::hello(&setup.cluster.endpoint()).await.unwrap();
    assert_eq!(text, "Hello, world, and all who read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_where_they_should_be() {
    let setup = Setup::new(3).await;
    records::records(&setup.cluster.endpoint()).await.unwrap();
}
