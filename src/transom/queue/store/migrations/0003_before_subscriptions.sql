-- How many subscriptions are told of what is posted to the queue; most queues have none, and their
-- posts pay nothing for them.
alter table queue add column subscribers integer not null default 0;

insert into counter (name, value) values ('subscription', 0);
insert into counter (name, value) values ('notices_delivered', 0);
insert into counter (name, value) values ('notices_retried', 0);
insert into counter (name, value) values ('notices_buried', 0);
insert into counter (name, value) values ('notices_dropped', 0);

-- position is the last message that was dealt with; attempts, next_ms and last_error are of the one
-- after it. A subscription that is not active is told of nothing. asked is what its subscriber is
-- still to be asked, and asked_ms when; null if nothing.
create table subscription (
    project_id text not null,
    queue_name text not null,
    number integer not null,
    token integer not null,
    subscriber text not null,
    options text not null,
    secret blob,
    ttl_s integer not null,
    created_ms integer not null,
    expires_ms integer not null,
    confirmed integer not null,
    active integer not null,
    position integer not null,
    attempts integer not null,
    next_ms integer not null,
    last_error text not null,
    delivered integer not null,
    undeliverable integer not null,
    asked text,
    asked_ms integer,
    asked_attempts integer not null,
    primary key (project_id, queue_name, number)
) without rowid;

create unique index subscription_subscriber on subscription (project_id, queue_name, subscriber);

create index subscription_expiry on subscription (expires_ms);

create index subscription_asked on subscription (asked_ms);

-- What was posted to queues with subscribers, once for all of them, until the slowest has it.
create table notice (
    project_id text not null,
    queue_name text not null,
    sequence integer not null,
    token integer not null,
    created_ms integer not null,
    expires_ms integer not null,
    ttl_s integer not null,
    client_id blob not null,
    body blob not null,
    key_generation integer,
    primary key (project_id, queue_name, sequence)
) without rowid;

-- The queues that have notices.
create table noticed (
    project_id text not null,
    queue_name text not null,
    primary key (project_id, queue_name)
) without rowid;
