-- Who may do what only one may do. until_ms is on the clock that all holders share.
create table if not exists lease (
  name text not null primary key,
  holder text not null,
  generation integer not null,
  until_ms integer not null
);
