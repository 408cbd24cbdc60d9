//! The system on real servers: the `tidemark` binary, PostgreSQL and RabbitMQ. Each test has databases and a queue
//! prefix of its own, so all run side by side. Start them with `make test`, which brings the servers.

mod away;
mod backfill;
mod chaos;
mod clocks;
mod columns;
mod commands;
mod controls;
mod fairness;
mod fleet;
mod guest;
mod health;
mod http;
mod isolation;
mod killed;
mod late;
mod ledger;
mod local;
mod messages;
mod metrics;
mod moving;
mod planning;
mod protocol;
mod proxy;
mod race;
mod random;
mod rejects;
mod resync;
mod servers;
mod sessions;
mod stage;
mod standby;
mod status;
mod traps;
mod versions;
mod view;
