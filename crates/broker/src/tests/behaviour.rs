//! Behaviour that both queues share and that producer, worker and finalizer rely on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fixture::with_rabbit;
use super::*;
use crate::{MemoryQueue, Published, Queue};

/// One test for each queue, from one function.
macro_rules! on_both_queues {
    ($($name:ident)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&MemoryQueue::new()).await;
            })*
        }

        mod rabbitmq {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                with_rabbit(async |rabbit| super::$name(rabbit.queue.as_ref()).await).await;
            })*
        }
    };
}

on_both_queues! {
    a_job_arrives_once_with_its_trace_context
    an_event_arrives_with_its_trace_context
    lanes_are_separate
    a_requeued_job_comes_again_marked_as_redelivered
    no_more_handlers_run_than_were_asked_for
    a_stopped_consumer_waits_for_its_handler_and_requeues_the_rest
    consumers_that_come_and_go_handle_every_job_once
    a_dropped_consumer_leaves_its_jobs_to_others
    a_handler_that_panics_blocks_nothing
    health_names_the_consumers_that_run
    nothing_to_publish_is_no_error
    depths_count_the_messages_of_each_lane
}

async fn a_job_arrives_once_with_its_trace_context(queue: &impl Queue) {
    let (handler, mut arrived) = collector();
    let stop = CancellationToken::new();
    let sent = outgoing(Lane::Live, 1);
    let test = async {
        let published = queue.publish_jobs(std::slice::from_ref(&sent)).await.unwrap();
        assert_eq!(published, [Published::Confirmed]);
        let received = next(&mut arrived).await;
        assert_eq!(received.body, sent.job);
        assert_eq!(received.context, sent.context);
        assert!(!received.redelivered);
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(Lane::Live, 4, stop.clone(), handler), test);
    nothing_waits(queue).await;
}

async fn an_event_arrives_with_its_trace_context(queue: &impl Queue) {
    let (handler, mut arrived) = collector();
    let stop = CancellationToken::new();
    let test = async {
        publish_event(queue, 1).await.unwrap();
        let received = next(&mut arrived).await;
        assert_eq!((received.body, received.context), (event(1), context(1)));
        stop.cancel();
    };
    tokio::join!(queue.consume_events(4, stop.clone(), handler), test);
}

async fn lanes_are_separate(queue: &impl Queue) {
    let jobs = [outgoing(Lane::Bulk, 1), outgoing(Lane::Live, 2)];
    queue.publish_jobs(&jobs).await.unwrap();
    for (lane, seq) in [(Lane::Live, 2), (Lane::Bulk, 1)] {
        assert_eq!(drain(queue, lane, 1).await[0].body.seq, seq);
    }
}

async fn a_requeued_job_comes_again_marked_as_redelivered(queue: &impl Queue) {
    let (sender, mut arrived) = mpsc::channel(1000);
    let handler: Handler<Job> = Arc::new(move |received| {
        let sender = sender.clone();
        async move {
            let redelivered = received.redelivered;
            sender.send(received).await.expect("the test reads until it ends");
            if redelivered { Settle::Ack } else { Settle::Requeue }
        }
        .boxed()
    });
    let stop = CancellationToken::new();
    let test = async {
        queue.publish_jobs(&[outgoing(Lane::Live, 1)]).await.unwrap();
        assert!(!next(&mut arrived).await.redelivered);
        let again = next(&mut arrived).await;
        assert!(again.redelivered);
        assert_eq!((again.body.seq, again.context), (1, context(1)));
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(Lane::Live, 1, stop.clone(), handler), test);
    nothing_waits(queue).await;
}

async fn no_more_handlers_run_than_were_asked_for(queue: &impl Queue) {
    let (sender, mut arrived) = mpsc::channel(1000);
    let running = Arc::new(AtomicUsize::new(0));
    let handler: Handler<Job> = Arc::new(move |_| {
        let (sender, running) = (sender.clone(), Arc::clone(&running));
        async move {
            let count = running.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            sender.send(count).await.expect("the test reads until it ends");
            Settle::Ack
        }
        .boxed()
    });
    let stop = CancellationToken::new();
    let test = async {
        let jobs: Vec<_> = (0..50).map(|seq| outgoing(Lane::Live, seq)).collect();
        queue.publish_jobs(&jobs).await.unwrap();
        for _ in &jobs {
            assert!(next(&mut arrived).await <= 3);
        }
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(Lane::Live, 3, stop.clone(), handler), test);
}

async fn a_stopped_consumer_waits_for_its_handler_and_requeues_the_rest(queue: &impl Queue) {
    let gate = CancellationToken::new();
    let (handler, mut begun) = gated(&gate);
    let stop = CancellationToken::new();
    let jobs: Vec<_> = (1..=5).map(|seq| outgoing(Lane::Live, seq)).collect();
    let mut taken = Vec::new();
    {
        let mut consuming = queue.consume_jobs(Lane::Live, 2, stop.clone(), handler);
        tokio::select! {
            () = &mut consuming => panic!("not stopped yet"),
            () = async {
                queue.publish_jobs(&jobs).await.unwrap();
                taken.push(next(&mut begun).await.body.seq);
                taken.push(next(&mut begun).await.body.seq);
            } => {}
        }
        stop.cancel();
        // another consumer gets the rest while the two handlers still run
        let rest = tokio::select! {
            () = &mut consuming => panic!("left running handlers behind"),
            rest = drain(queue, Lane::Live, 3) => rest,
        };
        taken.extend(rest.iter().map(|received| received.body.seq));
        gate.cancel();
        within("the consumer's return", consuming).await;
    }
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3, 4, 5]);
    nothing_waits(queue).await;
}

async fn consumers_that_come_and_go_handle_every_job_once(queue: &impl Queue) {
    let jobs: Vec<_> = (0..60).map(|seq| outgoing(Lane::Live, seq)).collect();
    queue.publish_jobs(&jobs).await.unwrap();
    let mut handled = Vec::new();
    while handled.len() < jobs.len() {
        let (handler, mut arrived) = collector::<Job>();
        let stop = CancellationToken::new();
        let test = async {
            handled.push(next(&mut arrived).await.body.seq);
            stop.cancel();
        };
        // stopped with prefetched jobs left
        tokio::join!(queue.consume_jobs(Lane::Live, 20, stop.clone(), handler), test);
        while let Ok(received) = arrived.try_recv() {
            handled.push(received.body.seq);
        }
    }
    handled.sort_unstable();
    assert_eq!(handled, (0..60).collect::<Vec<_>>());
}

async fn a_dropped_consumer_leaves_its_jobs_to_others(queue: &impl Queue) {
    let (handler, mut begun) = gated(&CancellationToken::new());
    queue.publish_jobs(&[outgoing(Lane::Bulk, 1)]).await.unwrap();
    tokio::select! {
        () = queue.consume_jobs(Lane::Bulk, 1, CancellationToken::new(), handler) => panic!("never stopped"),
        _ = next(&mut begun) => {}
    }
    assert!(drain(queue, Lane::Bulk, 1).await[0].redelivered);
}

async fn a_handler_that_panics_blocks_nothing(queue: &impl Queue) {
    let (collect, mut arrived) = collector();
    let handler: Handler<Job> = Arc::new(move |received| {
        assert!(
            received.body.seq != 1,
            "the first job panics, as this test wants it"
        );
        collect(received)
    });
    let stop = CancellationToken::new();
    let test = async {
        let jobs = [outgoing(Lane::Live, 1), outgoing(Lane::Live, 2)];
        queue.publish_jobs(&jobs).await.unwrap();
        assert_eq!(next(&mut arrived).await.body.seq, 2);
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(Lane::Live, 1, stop.clone(), handler), test);
    nothing_waits(queue).await;
}

async fn health_names_the_consumers_that_run(queue: &impl Queue) {
    assert!(queue.health().is_ready());
    assert!(queue.health().consumers.is_empty());
    queue.check().await.unwrap();
    let (handler, _arrived) = collector();
    let stop = CancellationToken::new();
    let test = async {
        until("a subscription", async || {
            let consumers = queue.health().consumers;
            consumers.len() == 1 && consumers[0].subscribed && consumers[0].queue.ends_with("chunks.bulk")
        })
        .await;
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(Lane::Bulk, 1, stop.clone(), handler), test);
    assert!(queue.health().consumers.is_empty());
}

async fn nothing_to_publish_is_no_error(queue: &impl Queue) {
    assert_eq!(queue.publish_jobs(&[]).await.unwrap(), []);
}

/// Takes `count` jobs from a lane.
async fn drain(queue: &impl Queue, lane: Lane, count: usize) -> Vec<Received<Job>> {
    let (handler, mut arrived) = collector();
    let stop = CancellationToken::new();
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            taken.push(next(&mut arrived).await);
        }
        stop.cancel();
    };
    tokio::join!(queue.consume_jobs(lane, 1, stop.clone(), handler), taking);
    taken
}

/// Checks that the live lane is empty: a marker sent through it comes out first.
async fn nothing_waits(queue: &impl Queue) {
    queue.publish_jobs(&[outgoing(Lane::Live, 99)]).await.unwrap();
    assert_eq!(drain(queue, Lane::Live, 1).await[0].body.seq, 99);
}

#[tokio::test]
async fn a_full_memory_queue_rejects_and_accepts_again_when_there_is_room() {
    let queue = MemoryQueue::new();
    let jobs: Vec<_> = (0..4097).map(|seq| outgoing(Lane::Live, seq)).collect();
    let published = queue.publish_jobs(&jobs).await.unwrap();
    assert!(published[..4096].iter().all(|one| *one == Published::Confirmed));
    assert_eq!(published[4096], Published::Rejected);
    drain(&queue, Lane::Live, 1).await;
    let published = queue.publish_jobs(&jobs[4096..]).await.unwrap();
    assert_eq!(published, [Published::Confirmed]);
}

async fn depths_count_the_messages_of_each_lane(queue: &impl Queue) {
    let jobs = [1, 2, 3].map(|seq| outgoing(if seq == 1 { Lane::Live } else { Lane::Bulk }, seq));
    queue.publish_jobs(&jobs).await.unwrap();
    // a broker updates its counts after the confirm
    until("the counts", async || {
        let depths = queue.depths().await.unwrap();
        let messages = |name| depths.iter().find(|depth| depth.queue == name).unwrap().messages;
        assert!(depths.iter().all(|depth| depth.consumers == 0));
        (messages("live"), messages("bulk"), messages("events")) == (1, 2, 0)
    })
    .await;
}
