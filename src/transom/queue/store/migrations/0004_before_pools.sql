-- Queues may be in several databases. The first one, the home, remembers which one each is in.
-- generation: of the placing by which a queue was made; 0 where this was the only database.
alter table queue add column generation integer not null default 0;

-- At most one row: what this database is called among several. No row: it is the only one, and
-- whoever posts makes a queue. identity: of a pool, so that it is not taken for another one.
create table member (
    store text not null primary key,
    identity text not null
);

-- At home: where a queue is, or is about to be made.
create table placed (
    project_id text not null,
    name text not null,
    store text not null,
    generation integer not null,
    primary key (project_id, name)
);
create index placed_by_store on placed (store, project_id, name);

-- Within one transaction: which queue may be made in it, and from which number on.
create table admitted (
    project_id text not null,
    name text not null,
    generation integer not null,
    next_sequence integer not null,
    primary key (project_id, name)
);

-- Elsewhere than at home: queues that were deleted, until home has forgotten their places.
create table vacated (
    project_id text not null,
    name text not null,
    generation integer not null,
    next_sequence integer not null,
    primary key (project_id, name)
);

-- At home: the rows of live tables that lie in other databases. key, content: as feeds have them.
create table directory (
    table_name text not null,
    key blob not null,
    store text not null,
    content blob not null,
    primary key (table_name, key, store)
);
create index directory_by_store on directory (store, table_name, key);

-- At home: the latest who relayed them.
create table relay (
    store text not null primary key,
    generation integer not null
);

-- At home. uri: sealed; shown: the same without its password.
create table pool (
    name text not null primary key,
    uri blob not null,
    shown text not null,
    identity text not null,
    weight integer not null,
    flavor text not null,
    options text not null,
    joined_ms integer not null
);

create table flavor (
    name text not null primary key
);

-- placing: the last generation; vacated: no placing up to this one makes a queue any more; pools:
-- grows with each change of the pools.
insert into counter (name, value) values ('placing', 0), ('vacated', 0), ('pools', 0);
