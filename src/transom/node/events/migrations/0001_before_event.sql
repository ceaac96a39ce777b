-- Events that have no number yet. Written in the transaction of what they tell of.
create table if not exists event_new (
  id integer not null primary key,
  source text not null,
  at_ms integer not null,
  kind text not null,
  payload blob not null
);
create index if not exists event_new_of_source on event_new (source, id);

-- The last number that was given.
create table if not exists event_head (
  source text not null primary key,
  n integer not null
);

-- payload: JSON.
create table if not exists event_log (
  source text not null,
  n integer not null,
  at_ms integer not null,
  kind text not null,
  payload blob not null,
  primary key (source, n)
);

-- A pool of listeners. next_n: the first event that was not yet given to any of them.
create table if not exists event_pool (
  source text not null,
  pool text not null,
  next_n integer not null,
  seen_ms integer not null,
  primary key (source, pool)
);

-- What was given and is not acknowledged, and who has it until when (as in lease).
-- lost: 0 for an event; else how many events, from n on, are told to be lost.
create table if not exists event_out (
  source text not null,
  pool text not null,
  n integer not null,
  lost integer not null,
  holder text not null,
  until_ms integer not null,
  primary key (source, pool, n)
);
