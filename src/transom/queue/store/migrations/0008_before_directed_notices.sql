-- The number of the one subscription that is told of it; null: all of the queue's are.
alter table notice add column subscription_number integer;

create index notice_directed on notice (project_id, queue_name, sequence)
    where subscription_number is not null;
