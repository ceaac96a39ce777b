-- As 0002_before_feed.sql, but that a pointer's number is given by the server.
create table if not exists pointer (
  id bigint generated always as identity primary key,
  source text collate "C" not null,
  table_name text collate "C" not null,
  key bytea not null
);
create index if not exists pointer_of_source on pointer (source, id);

create table if not exists feed (
  source text collate "C" not null primary key,
  epoch bigint not null,
  n bigint not null
);

create table if not exists feed_digest (
  source text collate "C" not null,
  table_name text collate "C" not null,
  digest bytea not null,
  primary key (source, table_name)
);

create table if not exists feed_log (
  source text collate "C" not null,
  epoch bigint not null,
  n bigint not null,
  at_ms bigint not null,
  changes bytea not null,
  primary key (source, epoch, n)
);

create table if not exists feed_row (
  source text collate "C" not null,
  table_name text collate "C" not null,
  key bytea not null,
  hash bytea not null,
  content bytea not null,
  primary key (source, table_name, key)
);
