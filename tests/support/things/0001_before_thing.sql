create table if not exists thing (name text primary key, size integer not null);
