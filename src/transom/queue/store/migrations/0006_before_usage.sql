-- What a queue keeps and has seen: the bytes of the bodies in it, and how many messages were posted
-- to it and have expired in it, ever since it is counted.
alter table queue add column body_bytes integer not null default 0;
alter table queue add column posted integer not null default 0;
alter table queue add column expired integer not null default 0;

update queue set body_bytes = (
  select coalesce(sum(length(message.body)), 0) from message
  where message.content_id = queue.content_id);

-- A claim over several queues is found by its id alone.
create index claim_id on claim (claim_id);
