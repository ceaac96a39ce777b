-- Tokens made under another epoch than the user's, or than their project's, are void.
create table if not exists users (
  id text not null primary key,
  domain_id text not null,
  name text not null,
  enabled integer not null,
  description text not null,
  email text not null,
  default_project_id text not null,
  password_hash text not null,
  epoch integer not null,
  unique (domain_id, name)
);

create table if not exists projects (
  id text not null primary key,
  domain_id text not null,
  name text not null,
  enabled integer not null,
  description text not null,
  epoch integer not null,
  unique (domain_id, name)
);

create table if not exists roles (
  id text not null primary key,
  name text not null unique
);

create table if not exists grants (
  user_id text not null,
  project_id text not null,
  role_id text not null,
  primary key (user_id, project_id, role_id)
);
create index if not exists grants_of_project on grants (project_id);

-- Kept until the token would have ended by itself.
create table if not exists revocations (
  audit_id text not null primary key,
  expires_ms integer not null
);
create index if not exists revocations_by_end on revocations (expires_ms);
