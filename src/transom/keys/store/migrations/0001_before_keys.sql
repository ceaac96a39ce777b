-- What is sealed is sealed under the master key, each value for its own place.
create table if not exists party (
  name text not null primary key,
  created_ms integer not null
);

-- used_ms: null until the party has signed with it; until_ms: null while it is the newest.
create table if not exists party_key (
  name text not null,
  generation integer not null,
  sealed blob not null,
  created_ms integer not null,
  used_ms integer,
  until_ms integer,
  primary key (name, generation)
);
create index if not exists party_key_end on party_key (until_ms);

-- A group, or the beginning of groups' names and '*'.
create table if not exists member_group (
  name text not null primary key,
  created_ms integer not null
);

create table if not exists member (
  group_name text not null,
  pattern text not null,
  primary key (group_name, pattern)
);
create index if not exists member_pattern on member (pattern);

-- Also of groups that nobody registered: those that parties are in by their names.
-- made_by: who asked first for a group that only a pattern fits; else ''.
create table if not exists group_key (
  group_name text not null,
  generation integer not null,
  sealed blob not null,
  created_ms integer not null,
  expires_ms integer not null,
  made_by text not null default '',
  primary key (group_name, generation)
);
create index if not exists group_key_end on group_key (expires_ms);
create index if not exists group_key_maker on group_key (made_by, expires_ms);

-- The server's own key pairs. until_ms: null for the one that signs.
create table if not exists authority (
  public_key blob not null primary key,
  sealed blob not null,
  created_ms integer not null,
  until_ms integer
);

create table if not exists certificate (
  name text not null primary key,
  document blob not null,
  expires_ms integer not null
);
create index if not exists certificate_end on certificate (expires_ms);

-- Requests that were answered. Kept until their time alone has them refused.
create table if not exists nonce (
  source text not null,
  nonce blob not null,
  expires_ms integer not null,
  primary key (source, nonce)
);
create index if not exists nonce_end on nonce (expires_ms);

-- 'floor': no request from before this moment is answered, since its nonce may have been lost.
create table if not exists moment (
  name text not null primary key,
  at_ms integer not null
);
