-- As 0001_before_event.sql, but that an event's first number is given by the server.
create table if not exists event_new (
  id bigint generated always as identity primary key,
  source text collate "C" not null,
  at_ms bigint not null,
  kind text collate "C" not null,
  payload bytea not null
);
create index if not exists event_new_of_source on event_new (source, id);

create table if not exists event_head (
  source text collate "C" not null primary key,
  n bigint not null
);

create table if not exists event_log (
  source text collate "C" not null,
  n bigint not null,
  at_ms bigint not null,
  kind text collate "C" not null,
  payload bytea not null,
  primary key (source, n)
);

create table if not exists event_pool (
  source text collate "C" not null,
  pool text collate "C" not null,
  next_n bigint not null,
  seen_ms bigint not null,
  primary key (source, pool)
);

create table if not exists event_out (
  source text collate "C" not null,
  pool text collate "C" not null,
  n bigint not null,
  lost bigint not null,
  holder text collate "C" not null,
  until_ms bigint not null,
  primary key (source, pool, n)
);
