-- What the version before posted and deleted since 0006 was applied is not in these counts.
update queue set body_bytes = (
  select coalesce(sum(length(message.body)), 0) from message
  where message.content_id = queue.content_id);
