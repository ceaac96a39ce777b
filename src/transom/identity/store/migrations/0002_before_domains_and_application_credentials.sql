-- Disabling a domain voids the tokens for it, of its users and for its projects.
create table if not exists domains (
  id text not null primary key,
  name text not null unique,
  enabled bigint not null,
  description text not null,
  epoch bigint not null
);
insert into domains (id, name, enabled, description, epoch)
values ('default', 'Default', 1, 'The default domain', 1) on conflict (id) do nothing;

alter table roles add column description text not null default '';

-- Roles on what is no project: scope is 'domain' or 'system', whose one target is 'all'.
create table if not exists scope_grants (
  user_id text not null,
  scope text not null,
  target_id text not null,
  role_id text not null,
  primary key (user_id, scope, target_id, role_id)
);
create index if not exists scope_grants_of_target on scope_grants (scope, target_id);

create table if not exists project_tags (
  project_id text not null,
  tag text not null,
  primary key (project_id, tag)
);

-- expires_us 0: it does not end by itself; microseconds since 1970.
create table if not exists application_credentials (
  id text not null primary key,
  user_id text not null,
  project_id text not null,
  name text not null,
  description text not null,
  secret_hash text not null,
  unrestricted bigint not null,
  expires_us bigint not null,
  unique (user_id, name)
);
create index if not exists application_credentials_of_project
on application_credentials (project_id);

create table if not exists application_credential_roles (
  credential_id text not null,
  role_id text not null,
  primary key (credential_id, role_id)
);

-- The first admin of a folder that is older than the system's roles.
insert into scope_grants (user_id, scope, target_id, role_id)
select users.id, 'system', 'all', roles.id from users, roles
where users.domain_id = 'default' and users.name = 'admin' and roles.name in ('admin', 'reader')
  and exists (
    select 1 from grants where grants.user_id = users.id and grants.role_id = roles.id
  )
on conflict (user_id, scope, target_id, role_id) do nothing;
