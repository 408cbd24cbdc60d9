//! Behaviour that only a real broker can show.

use std::error::Error;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ExchangeDeleteOptions};
use lapin::types::AMQPValue;
use tokio::net::TcpListener;

use super::fixture::{Fixture, broker_url, settings, with_rabbit};
use super::*;
use crate::{DeadFilter, Published, PublisherHealth, Queue, QueueError, RabbitQueue};

#[tokio::test]
async fn exactly_the_jobs_without_a_queue_are_reported() {
    with_rabbit(async |rabbit| {
        let jobs: Vec<_> = (0..200)
            .map(|seq| outgoing(if seq % 7 == 0 { Lane::Bulk } else { Lane::Live }, seq))
            .collect();
        let all_confirmed = vec![Published::Confirmed; 200];
        assert_eq!(rabbit.queue.publish_jobs(&jobs).await.unwrap(), all_confirmed);

        rabbit.delete_queue("chunks.bulk").await;
        let published = rabbit.queue.publish_jobs(&jobs).await.unwrap();
        let expected: Vec<_> = (0..200)
            .map(|seq| {
                if seq % 7 == 0 {
                    Published::Unroutable
                } else {
                    Published::Confirmed
                }
            })
            .collect();
        assert_eq!(published, expected);

        // that publish dropped the connection, so the next one declares the queue again
        assert_eq!(rabbit.queue.publish_jobs(&jobs).await.unwrap(), all_confirmed);
    })
    .await;
}

#[tokio::test]
async fn more_jobs_than_one_barrier_holds_are_answered_in_order() {
    with_rabbit(async |rabbit| {
        let jobs: Vec<_> = (0..1201).map(|seq| outgoing(Lane::Live, seq)).collect();
        let published = rabbit.queue.publish_jobs(&jobs).await.unwrap();
        assert_eq!(published, vec![Published::Confirmed; 1201]);
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_message_is_dead_lettered_with_its_reason_and_does_not_come_again() {
    with_rabbit(async |rabbit| {
        let big = vec![b'x'; 70_000];
        let rubbish: [(&[u8], &str); 4] = [
            (b"rubbish", "not JSON: line 1, column 1"),
            (br#"{"v":9}"#, "version 9, this build reads 1"),
            (
                br#"{"v":1,"run_id":"seven"}"#,
                "fields are missing or of another type",
            ),
            (&big, "too big: 70000 bytes, the first 65536 are kept"),
        ];
        let (handler, mut arrived) = collector::<Job>();
        let stop = CancellationToken::new();
        let test = async {
            rabbit.subscribed().await;
            for (body, reason) in rubbish {
                publish_raw(rabbit, "live", body).await;
                let dead = rabbit.dead().await;
                assert_eq!(dead.data, body[..body.len().min(65_536)]);
                assert_eq!(header(&dead.properties, "reason"), reason);
                assert_eq!(
                    header(&dead.properties, "queue"),
                    format!("{}.chunks.live", rabbit.prefix)
                );
            }
            // readable messages still arrive, and only they reach the handler
            rabbit
                .queue
                .publish_jobs(&[outgoing(Lane::Live, 1)])
                .await
                .unwrap();
            assert_eq!(next(&mut arrived).await.body.seq, 1);
            stop.cancel();
        };
        tokio::join!(
            rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler),
            test
        );
        assert!(arrived.try_recv().is_err());
        assert_eq!(rabbit.depth("chunks.live").await, 0);
        assert_eq!(rabbit.depth("dead").await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_message_leaves_the_queue_even_when_it_cannot_be_published() {
    with_rabbit(async |rabbit| {
        let exchange = format!("{}.dead", rabbit.prefix);
        let options = ExchangeDeleteOptions::default();
        let (handler, _arrived) = collector::<Job>();
        let stop = CancellationToken::new();
        let test = async {
            rabbit.subscribed().await;
            // both connections exist by now, so no new connection declares the exchange again
            publish_event(rabbit.queue.as_ref(), 1).await.unwrap();
            rabbit
                .channel()
                .await
                .exchange_delete(exchange.into(), options)
                .await
                .unwrap();
            publish_raw(rabbit, "live", b"rubbish").await;
            until("a failed publish", async || {
                rabbit.queue.health().publisher == PublisherHealth::Failing
            })
            .await;
            until("an empty queue", async || rabbit.depth("chunks.live").await == 0).await;
            stop.cancel();
        };
        tokio::join!(
            rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler),
            test
        );
        assert_eq!(rabbit.depth("chunks.live").await, 0);
        rabbit.queue.check().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_consumer_outlives_its_queue() {
    with_rabbit(async |rabbit| {
        let (handler, mut arrived) = collector::<Job>();
        let stop = CancellationToken::new();
        let test = async {
            rabbit.subscribed().await;
            rabbit.delete_queue("chunks.live").await;
            until("a lost subscription", async || !rabbit.queue.health().is_ready()).await;
            rabbit.subscribed().await;
            rabbit
                .queue
                .publish_jobs(&[outgoing(Lane::Live, 1)])
                .await
                .unwrap();
            assert_eq!(next(&mut arrived).await.body.seq, 1);
            stop.cancel();
        };
        tokio::join!(
            rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler),
            test
        );
    })
    .await;
}

#[tokio::test]
async fn a_cut_connection_costs_a_redelivery_and_nothing_else() {
    with_rabbit(async |rabbit| {
        let gate = CancellationToken::new();
        let (handler, mut begun) = gated::<Job>(&gate);
        let stop = CancellationToken::new();
        let test = async {
            rabbit
                .queue
                .publish_jobs(&[outgoing(Lane::Live, 1)])
                .await
                .unwrap();
            assert!(!next(&mut begun).await.redelivered);
            rabbit.cut_connections();
            until("a lost subscription", async || !rabbit.queue.health().is_ready()).await;
            rabbit.subscribed().await;
            // the handler of the lost connection still holds the only slot
            assert!(begun.try_recv().is_err());
            gate.cancel();
            assert!(next(&mut begun).await.redelivered);
            stop.cancel();
        };
        tokio::join!(
            rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler),
            test
        );
        assert_eq!(rabbit.depth("chunks.live").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_stopped_consumer_requeues_what_waits_for_a_handler() {
    with_rabbit(async |rabbit| {
        let gate = CancellationToken::new();
        let (handler, mut begun) = gated::<Job>(&gate);
        let (other, mut elsewhere) = collector::<Job>();
        let (stop, stop_other) = (CancellationToken::new(), CancellationToken::new());
        let test = async {
            rabbit
                .queue
                .publish_jobs(&[outgoing(Lane::Live, 1)])
                .await
                .unwrap();
            next(&mut begun).await;
            // the handler outlives its connection, so the next connection's delivery must wait for it
            rabbit.cut_connections();
            until("a lost subscription", async || !rabbit.queue.health().is_ready()).await;
            rabbit.subscribed().await;
            stop.cancel();
            assert!(next(&mut elsewhere).await.redelivered);
            gate.cancel();
            stop_other.cancel();
        };
        let consuming = rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler);
        let elsewhere = async {
            stop.cancelled().await;
            rabbit
                .queue
                .consume_jobs(Lane::Live, 1, stop_other.clone(), other)
                .await;
        };
        tokio::join!(consuming, elsewhere, test);
        assert!(begun.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn a_publisher_comes_back_after_a_cut() {
    with_rabbit(async |rabbit| {
        publish_event(rabbit.queue.as_ref(), 1).await.unwrap();
        assert_eq!(rabbit.queue.health().publisher, PublisherHealth::Connected);
        rabbit.cut_connections();
        // only the first attempt may still use the dead connection
        if publish_event(rabbit.queue.as_ref(), 2).await.is_err() {
            assert_eq!(rabbit.queue.health().publisher, PublisherHealth::Failing);
            publish_event(rabbit.queue.as_ref(), 2).await.unwrap();
        }
        assert_eq!(rabbit.queue.health().publisher, PublisherHealth::Connected);
        assert_eq!(rabbit.depth("events").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_publish_does_not_affect_later_ones() {
    with_rabbit(async |rabbit| {
        let jobs: Vec<_> = (0..400).map(|seq| outgoing(Lane::Bulk, seq)).collect();
        rabbit.queue.publish_jobs(&jobs[..1]).await.unwrap();
        rabbit.delete_queue("chunks.bulk").await;
        tokio::select! {
            biased;
            published = rabbit.queue.publish_jobs(&jobs) => panic!("{published:?} without waiting"),
            () = tokio::task::yield_now() => {}
        }
        let published = rabbit.queue.publish_jobs(&jobs).await.unwrap();
        assert_eq!(published, vec![Published::Confirmed; 400]);
    })
    .await;
}

#[tokio::test]
async fn a_check_declares_the_queues_of_a_broker_that_lost_everything() {
    with_rabbit(async |rabbit| {
        for name in ["chunks.live", "chunks.bulk", "events", "dead"] {
            rabbit.delete_queue(name).await;
        }
        rabbit.queue.check().await.unwrap();
        publish_event(rabbit.queue.as_ref(), 1).await.unwrap();
        assert_eq!(rabbit.depth("events").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_never_connected_stops_at_once() {
    let queue = RabbitQueue::new(&settings(
        &format!("amqp://127.0.0.1:{}", free_port().await),
        "broker-test",
    ))
    .unwrap();
    let (handler, _arrived) = collector::<Job>();
    let stop = CancellationToken::new();
    let test = async {
        until("a consumer", async || !queue.health().consumers.is_empty()).await;
        assert!(!queue.health().is_ready());
        stop.cancel();
    };
    let consuming = queue.consume_jobs(Lane::Live, 1, stop.clone(), handler);
    within("the consumer's return", async { tokio::join!(consuming, test) }).await;
}

#[tokio::test]
async fn wrong_credentials_and_vhosts_are_distinguished_from_unreachable_servers() {
    let mut password = broker_url();
    password.set_password(Some("hunter2")).unwrap();
    let error = failure(password.as_str()).await;
    assert!(matches!(error, QueueError::Refused { .. }), "{error:?}");

    let mut vhost = broker_url();
    vhost.set_path("/no-such-vhost");
    let error = failure(vhost.as_str()).await;
    assert!(matches!(error, QueueError::Refused { .. }), "{error:?}");
    let address = format!(
        "{}:{}/no-such-vhost",
        vhost.host_str().unwrap(),
        vhost.port().unwrap_or(5672)
    );
    assert!(error.to_string().contains(&address), "{error}");

    let address = format!("127.0.0.1:{}/", free_port().await);
    let error = failure(&format!("amqp://guest:hunter2@{address}")).await;
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn connecting_to_a_server_that_never_answers_fails() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://{}", silent.local_addr().unwrap());
    let mut settings = settings(&url, "broker-test");
    settings.connect_timeout = Duration::from_millis(100);
    let queue = RabbitQueue::new(&settings).unwrap();
    let error = within("an error", queue.check()).await.unwrap_err();
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn queues_with_other_arguments_are_refused_with_advice() {
    with_rabbit(async |rabbit| {
        rabbit.delete_queue("events").await;
        let queue = format!("{}.events", rabbit.prefix);
        let channel = rabbit.channel().await;
        channel
            .queue_declare(queue.into(), Default::default(), Default::default())
            .await
            .unwrap();
        let error = rabbit.queue.check().await.unwrap_err();
        assert!(matches!(error, QueueError::Topology { .. }), "{error:?}");
        assert!(error.to_string().contains("another prefix"), "{error}");
    })
    .await;
}

/// RabbitMQ counts how often a dead message returned, and drops it at the limit.
#[tokio::test]
async fn dead_messages_survive_any_number_of_reads_closed_or_not() {
    const LIMIT: u32 = 5;
    with_rabbit(async |rabbit| {
        rabbit.limit_deliveries(LIMIT).await;
        for body in [&b"rubbish"[..], br#"{"v":9}"#] {
            publish_raw(rabbit, "live", body).await;
        }
        let (handler, _arrived) = collector::<Job>();
        let stop = CancellationToken::new();
        tokio::join!(
            rabbit.queue.consume_jobs(Lane::Live, 1, stop.clone(), handler),
            async {
                until("dead messages", async || rabbit.depth("dead").await == 2).await;
                stop.cancel();
            }
        );
        let mut first = None;
        for look in 0..4 * LIMIT {
            let dead = rabbit.queue.dead_letters().await.unwrap();
            let mut seen = dead.list(100, &DeadFilter::default()).await.unwrap();
            seen.sort_by_key(|group| group.message.reason.clone());
            assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen, "look {look}");
            if look % 2 == 0 {
                dead.close().await.unwrap();
            } else {
                drop(dead);
            }
            until("messages requeued", async || rabbit.depth("dead").await == 2).await;
        }
        rabbit.clear_limit().await;
    })
    .await;
}

/// The error of a check; asserts that it does not contain the password.
async fn failure(url: &str) -> QueueError {
    let queue = RabbitQueue::new(&settings(url, "broker-test")).unwrap();
    let error = queue.check().await.unwrap_err();
    let source = error.source().unwrap();
    assert!(
        !format!("{error} {error:?} {source}").contains("hunter2"),
        "{error:?}"
    );
    error
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

async fn publish_raw(rabbit: &Fixture, key: &str, body: &[u8]) {
    let exchange = format!("{}.jobs", rabbit.prefix).into();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let channel = rabbit.channel().await;
    channel.confirm_select(Default::default()).await.unwrap();
    let sending = channel.basic_publish(exchange, key.into(), options, body, properties);
    assert!(sending.await.unwrap().await.unwrap().is_ack());
}

fn header(properties: &BasicProperties, name: &str) -> String {
    let headers = properties.headers().as_ref().unwrap();
    match &headers.inner()[name] {
        AMQPValue::LongString(text) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}
