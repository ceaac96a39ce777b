-- The answers to requests that came with an Idempotency-Key, until expires_ms.
-- request: SHA-256 of the request; answer: MessagePack.
create table if not exists once (
  owner text not null,
  user_id text not null,
  name text not null,
  request blob not null,
  answer blob not null,
  expires_ms integer not null,
  primary key (owner, user_id, name)
);
create index if not exists once_by_expiry on once (expires_ms);
