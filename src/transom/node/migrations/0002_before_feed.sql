-- What changed since the feed last looked. Written in the transaction that changes the row.
create table if not exists pointer (
  id integer not null primary key,
  source text not null,
  table_name text not null,
  key blob not null
);
create index if not exists pointer_of_source on pointer (source, id);

create table if not exists feed (
  source text not null primary key,
  epoch integer not null,
  n integer not null
);

-- digest: 16 bytes, little-endian: the sum of the hashes of the table's published rows.
create table if not exists feed_digest (
  source text not null,
  table_name text not null,
  digest blob not null,
  primary key (source, table_name)
);

-- changes: a JSON array of [table, key, row or null].
create table if not exists feed_log (
  source text not null,
  epoch integer not null,
  n integer not null,
  at_ms integer not null,
  changes blob not null,
  primary key (source, epoch, n)
);

-- The rows as last published. content: canonical JSON [table, key, row]; hash: 16 bytes of it.
create table if not exists feed_row (
  source text not null,
  table_name text not null,
  key blob not null,
  hash blob not null,
  content blob not null,
  primary key (source, table_name, key)
);
