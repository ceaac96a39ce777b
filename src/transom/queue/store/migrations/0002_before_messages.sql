-- What keys hang on, so that they outlive a purge; null: the content_id. Never used again, so the
-- keys of a deleted queue mean nothing and expire by themselves.
alter table queue add column keys_id integer;

alter table message add column key text;

-- Why the message was moved to dead letters, as JSON, the last time first; null if it never was.
alter table message add column deaths text;

-- The dead letters of a queue in order: what was moved here carries the id that it had before.
create index message_dead on message (content_id, sequence, expires_ms)
    where source_id is not null;

-- A live claim's earlier ends, where it has several: claim.expires_ms is the latest.
create table strand (
    content_id integer not null,
    claim_id blob not null,
    expires_ms integer not null,
    primary key (content_id, claim_id, expires_ms)
) without rowid;

create index strand_expiry on strand (expires_ms);

create table message_key (
    keys_id integer not null,
    key text not null,
    sequence integer not null,
    token integer not null,
    expires_ms integer not null,
    primary key (keys_id, key)
) without rowid;

create index message_key_expiry on message_key (expires_ms);

-- Messages on their way to queues in other databases lie here as those of a hidden queue.
create table departing (
    project_id text not null,
    name text not null,
    content_id integer not null unique,
    next_sequence integer not null,
    primary key (project_id, name)
);
