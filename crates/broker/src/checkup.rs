//! The check-up of the broker. The HTTP API is asked first, if it can be reached: AMQP answers the question for a queue that
//! does not exist with an error of the channel, which RabbitMQ logs.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};

use super::connection::await_answer;
use super::dead::MAX_RETURNS;
use super::destination::Route;
use super::error::QueueError;
use super::management::{ApiOverview, DeliveryLimit, Management, QueueInfo};
use super::rabbit::RabbitQueue;
use super::topology::queue_arguments;
use tidemark_net::url::ServerUrl;
use tidemark_postgres::report::report;
use tidemark_runtime::finding::{Check, Finding, Found, ManagementFault, encryption_finding};
use tidemark_shared::job::Lane;

/// For one request to the HTTP API.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The first version whose quorum queues count and limit deliveries as the fleet expects.
const OLDEST_VERSION: (u32, u32) = (3, 10);
/// From this version on RabbitMQ drops a message after 20 returns, unless a policy sets another limit.
const LIMITS_BY_DEFAULT: (u32, u32) = (4, 0);
/// Before this version every return counts. From it on only `basic.reject` counts, and a connection that ends with the
/// message unacknowledged.
const COUNTS_FAILURES_ONLY: (u32, u32) = (4, 3);
/// A few restarts of a fleet reach a limit below this.
const LOW_DELIVERY_LIMIT: u64 = 100;
/// A queue contains ids, and at most as many messages as chunks are in flight.
const MANY_BYTES: i64 = 1 << 30;
/// The same where the size is unknown: such messages have about a kilobyte.
const MANY_MESSAGES: i64 = 1_000_000;

impl RabbitQueue {
    /// Checks everything that the fleet needs from its broker, without declaring anything. `management` is the address of the
    /// HTTP API, if it is not the usual one.
    pub async fn check_up(&self, management: Option<&ServerUrl>, findings: &mut Vec<Finding>) {
        let connection = match self.server.connect_without_declaring("doctor").await {
            Ok(connection) => connection,
            Err(error) => {
                findings.push(Finding::error(Check::Connection, Found::Failed(report(&error))));
                return;
            }
        };
        let node = self.server.destination(Route::Events);
        findings.push(Finding::ok(
            Check::Connection,
            Found::Answers {
                host: node.host.to_string(),
                port: node.port,
            },
        ));
        let exposed = self.exposed().into_iter().next().map(|(_, exposure)| exposure);
        findings.push(encryption_finding(
            exposed,
            "use amqps:// in the URL, and cacertfile=FILE for your own authority",
        ));
        let management = Management::new(&self.server, management, REQUEST_TIMEOUT);
        let listed = match &management {
            Ok(management) => self.list_queues(management).await,
            Err(why) => Err(Finding::skipped(Check::Policies, why.clone())),
        };
        let known = listed.as_ref().map_or(&[][..], |listed| &listed.queues);
        if let Err(error) = self.check_queues(&connection, known, findings).await {
            findings.push(Finding::error(Check::Queues, Found::Failed(report(&error))));
        }
        drop(connection);
        self.server.wait_for_closes().await;
        match (management, listed) {
            (Ok(management), Ok(listed)) => self.check_management(&management, listed, findings).await,
            (_, Err(finding)) => findings.push(finding),
            (Err(why), Ok(_)) => findings.push(Finding::skipped(Check::Policies, why)),
        }
    }

    /// Asks the HTTP API for the version and the queues.
    async fn list_queues(&self, management: &Management) -> Result<Listed, Finding> {
        let overview = management.overview().await.map_err(|why| {
            Finding::skipped(Check::Policies, Found::NoManagement(why))
                .todo("TIDEMARK_AMQP_MANAGEMENT_URL=http://user:password@host:15672 tidemark doctor")
        })?;
        let mut queues = Vec::new();
        for queue in self.queues() {
            queues.push(management.queue(queue.as_str()).await);
        }
        Ok(Listed { overview, queues })
    }

    fn queues(&self) -> [&ShortString; 4] {
        let topology = &self.server.topology;
        [
            topology.chunks(Lane::Live),
            topology.chunks(Lane::Bulk),
            &topology.events,
            &topology.dead,
        ]
    }

    async fn check_queues(
        &self,
        connection: &Connection,
        known: &[Result<Option<QueueInfo>, ManagementFault>],
        findings: &mut Vec<Finding>,
    ) -> Result<(), QueueError> {
        let mut missing = Vec::new();
        let mut good_count = 0;
        for (index, queue) in self.queues().into_iter().enumerate() {
            if matches!(known.get(index), Some(Ok(None))) {
                missing.push(queue.to_string());
                continue;
            }
            match inspect_queue(connection, queue, passive(), FieldTable::default()).await? {
                QueueState::Missing => {
                    missing.push(queue.to_string());
                    continue;
                }
                QueueState::Refused(why) => {
                    findings.push(Finding::error(
                        Check::Queues,
                        Found::QueueNotChecked {
                            queue: queue.to_string(),
                            why,
                        },
                    ));
                    continue;
                }
                QueueState::Found { messages, .. } if queue == &self.server.topology.dead && messages > 0 => {
                    findings.push(
                        Finding::warning(Check::Dead, Found::DeadMessages(messages))
                            .todo("tidemark dead list"),
                    );
                }
                QueueState::Found { .. } => {}
            }
            // the queue exists, so this declaration only compares its arguments
            let arguments = queue_arguments(&self.server.topology, queue);
            match inspect_queue(connection, queue, durable(), arguments).await? {
                QueueState::Refused(why) => findings.push(
                    Finding::error(
                        Check::Queues,
                        Found::QueueDiffers {
                            queue: queue.to_string(),
                            why,
                        },
                    )
                    .todo(
                        format!("rabbitmqctl delete_queue '{queue}'   # the fleet declares it again and publishes its chunks again"),
                    ),
                ),
                _ => good_count += 1,
            }
        }
        if !missing.is_empty() {
            findings.push(Finding::ok(Check::Queues, Found::QueuesMissing(missing)));
        } else if good_count == self.queues().len() {
            findings.push(Finding::ok(Check::Queues, Found::QueuesGood));
        }
        Ok(())
    }

    async fn check_management(&self, management: &Management, listed: Listed, findings: &mut Vec<Finding>) {
        let Listed { overview, queues } = listed;
        let version = overview.version();
        findings.push(if version < OLDEST_VERSION {
            Finding::error(Check::Version, Found::RabbitTooOld(overview.rabbitmq_version))
        } else {
            Finding::ok(Check::Version, Found::Rabbit(overview.rabbitmq_version))
        });
        match management.nodes().await {
            Ok(nodes) => {
                for node in nodes {
                    for (is_set, memory) in [(node.mem_alarm, true), (node.disk_free_alarm, false)] {
                        if is_set {
                            findings.push(
                                Finding::error(
                                    Check::Alarm,
                                    Found::ShortOf {
                                        node: node.name.clone(),
                                        memory,
                                    },
                                )
                                .todo("rabbitmq-diagnostics alarms; rabbitmq-diagnostics memory_breakdown"),
                            );
                        }
                    }
                }
            }
            Err(why) => findings.push(Finding::skipped(Check::Alarm, why)),
        }
        let mut limit = None;
        for (queue, info) in self.queues().into_iter().zip(queues) {
            match info {
                Ok(Some(info)) => {
                    limit = limit.into_iter().chain(info.delivery_limit()).min();
                    findings.extend(queue_problems(queue.as_str(), &info));
                }
                Ok(None) => {}
                Err(why) => {
                    findings.push(Finding::skipped(Check::Policies, why));
                    return;
                }
            }
        }
        findings.push(self.delivery_limit(limit, version));
        findings.push(
            Finding::skipped(Check::Timeout, Found::ConsumerTimeout)
                .todo("rabbitmqctl environment | grep consumer_timeout"),
        );
    }

    fn delivery_limit(&self, limit: Option<DeliveryLimit>, version: (u32, u32)) -> Finding {
        let prefix = self.server.topology.prefix.replace('.', r"\.");
        let command = format!(
            "rabbitmqctl set_policy --apply-to queues tidemark '^{prefix}\\.' '{{\"delivery-limit\":1000}}'"
        );
        match limit {
            Some(DeliveryLimit::At(limit)) if limit < MAX_RETURNS => Finding::warning(
                Check::Policies,
                Found::LimitBelowList {
                    limit,
                    least: MAX_RETURNS,
                },
            )
            .todo(command),
            Some(DeliveryLimit::At(limit)) if limit < LOW_DELIVERY_LIMIT => {
                Finding::warning(Check::Policies, Found::LimitLow(limit)).todo(command)
            }
            Some(DeliveryLimit::At(limit)) => Finding::ok(Check::Policies, Found::LimitSet(limit)),
            Some(DeliveryLimit::Off) => Finding::ok(Check::Policies, Found::LimitOff),
            None if version < LIMITS_BY_DEFAULT => Finding::ok(Check::Policies, Found::LimitNotNeeded),
            None if version < COUNTS_FAILURES_ONLY => {
                Finding::warning(Check::Policies, Found::LimitByReturns).todo(command)
            }
            None => Finding::ok(Check::Policies, Found::LimitByFailures),
        }
    }
}

/// Problems of a queue that come from a policy, a lost node or its size.
fn queue_problems(queue: &str, info: &QueueInfo) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in ["message-ttl", "max-length", "max-length-bytes", "expires"] {
        if let Some(value) = info.effective(name) {
            found.push(
                Finding::warning(
                    Check::Policies,
                    Found::PolicyDrops {
                        name,
                        value: value.to_string(),
                        queue: queue.to_owned(),
                    },
                )
                .todo(format!(
                    "rabbitmqctl clear_policy {}",
                    info.policy.as_deref().unwrap_or("NAME")
                )),
            );
        }
    }
    if info.members.len() > info.online.len() {
        found.push(
            Finding::warning(
                Check::Members,
                Found::MembersAway {
                    queue: queue.to_owned(),
                    online: info.online.len(),
                    members: info.members.len(),
                },
            )
            .todo("rabbitmqctl cluster_status"),
        );
    }
    let waiting = info.messages.unwrap_or(0);
    match info.message_bytes {
        Some(size) if size > MANY_BYTES => {
            found.push(Finding::warning(
                Check::Disk,
                Found::QueueLarge {
                    queue: queue.to_owned(),
                    size,
                },
            ));
        }
        Some(_) => {}
        None if waiting > MANY_MESSAGES => {
            found.push(Finding::warning(
                Check::Disk,
                Found::QueueLong {
                    queue: queue.to_owned(),
                    messages: waiting,
                },
            ));
        }
        None => {}
    }
    found
}

/// The answers of the HTTP API.
struct Listed {
    overview: ApiOverview,
    /// In the order of [`RabbitQueue::queues`]; `Ok(None)`: there is no such queue.
    queues: Vec<Result<Option<QueueInfo>, ManagementFault>>,
}

enum QueueState {
    Found { messages: u32 },
    Missing,
    Refused(String),
}

const fn options(passive: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    }
}

const fn passive() -> QueueDeclareOptions {
    options(true)
}

const fn durable() -> QueueDeclareOptions {
    options(false)
}

/// Declares the queue on a separate channel, because a refusal closes the channel.
async fn inspect_queue(
    connection: &Connection,
    queue: &ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<QueueState, QueueError> {
    let channel: Channel = await_answer("open a channel", connection.create_channel()).await?;
    let asked = await_answer(
        "inspect a queue",
        channel.queue_declare(queue.clone(), options, arguments),
    )
    .await;
    Ok(match asked {
        Ok(queue) => {
            let messages = queue.message_count();
            drop(channel.close(200, "checked".into()).await);
            QueueState::Found { messages }
        }
        Err(QueueError::Amqp { source, .. }) if source.is_amqp_soft_error() => match soft_code(&source) {
            Some(404) => QueueState::Missing,
            _ => QueueState::Refused(source.to_string()),
        },
        Err(error) => return Err(error),
    })
}

fn soft_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::RabbitSettings;
    use super::*;
    use tidemark_runtime::finding::Level;

    #[test]
    fn a_queue_that_grew_is_found_also_where_its_size_is_not_reported() {
        let disk = |info: &str| {
            let info: QueueInfo = serde_json::from_str(info).unwrap();
            queue_problems("tidemark.dead", &info)
                .into_iter()
                .map(|finding| finding.found.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(disk(r#"{"messages": 900, "message_bytes": 900000}"#), [""; 0]);
        assert!(disk(r#"{"messages": 900, "message_bytes": 1900000000}"#)[0].contains("GB of messages"));
        assert_eq!(disk(r#"{"messages": 900}"#), [""; 0]);
        assert!(disk(r#"{"messages": 1900000}"#)[0].contains("1900000 messages"));
    }

    #[test]
    fn a_delivery_limit_is_judged_by_how_the_version_counts() {
        let queue = RabbitQueue::new(&RabbitSettings::new("amqp://mq".into()))
            .ok()
            .unwrap();
        let finding_for = |limit, version| {
            let finding = queue.delivery_limit(limit, version);
            (finding.level, finding.found.to_string())
        };
        let (level, detail) = finding_for(None, (3, 13));
        assert!(level == Level::Ok && detail.contains("needs none"), "{detail}");
        for version in [(4, 0), (4, 1), (4, 2)] {
            let (level, detail) = finding_for(None, version);
            assert!(
                level == Level::Warning && detail.contains("of any kind"),
                "{detail}"
            );
        }
        for version in [(4, 3), (4, 4), (5, 0)] {
            let (level, detail) = finding_for(None, version);
            assert!(
                level == Level::Ok && detail.contains("20 connections"),
                "{detail}"
            );
        }
        let (level, detail) = finding_for(Some(DeliveryLimit::At(2)), (4, 3));
        assert!(
            level == Level::Warning && detail.contains("dead list"),
            "{detail}"
        );
        let (level, detail) = finding_for(Some(DeliveryLimit::At(20)), (4, 0));
        assert!(level == Level::Warning && detail.contains("restarts"), "{detail}");
        assert_eq!(finding_for(Some(DeliveryLimit::At(1000)), (4, 0)).0, Level::Ok);
        assert_eq!(finding_for(Some(DeliveryLimit::Off), (4, 0)).0, Level::Ok);
    }
}
