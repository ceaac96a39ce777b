-- What a queue holds hangs on its content_id. Deleting or purging a queue gives the number up in
-- one statement, however much hangs on it, and the sweep removes the rest in small steps.

create table queue (
    project_id text not null,
    name text not null,
    content_id integer not null unique,
    metadata text not null,
    created_ms integer not null,
    next_sequence integer not null,
    total integer not null,
    primary key (project_id, name)
);

-- A queue made again begins where deleted queues of its project ended.
create table project (
    project_id text not null primary key,
    next_sequence integer not null
);

create table counter (
    name text not null primary key,
    value integer not null
);

insert into counter (name, value) values ('content', 0);

create table forsaken (
    content_id integer not null primary key
);

-- available_ms is null for a message that waits and was never hidden; otherwise the moment at which
-- its claim (claim_id is not null) or its delay (claim_id is null) ends.
create table message (
    content_id integer not null,
    sequence integer not null,
    token integer not null,
    created_ms integer not null,
    expires_ms integer not null,
    ttl_s integer not null,
    available_ms integer,
    claim_id blob,
    deliveries integer not null,
    client_id blob not null,
    source_id text,
    body blob not null,
    primary key (content_id, sequence)
) without rowid;

-- The waiting in order (available_ms and claim_id null), the hidden by the end of their hiding, and
-- the messages of one claim (which end with it).
create index message_place on message (content_id, available_ms, claim_id, sequence, expires_ms);

create index message_expiry on message (expires_ms, content_id);

create table claim (
    content_id integer not null,
    claim_id blob not null,
    renewed_ms integer not null,
    expires_ms integer not null,
    ttl_s integer not null,
    primary key (content_id, claim_id)
) without rowid;

create index claim_expiry on claim (expires_ms);
