-- The keys that bodies are sealed under, each sealed under the master key. A project has one that
-- seals (of the highest generation); those before it open what they sealed.

create table project_key (
    project_id text not null,
    generation integer not null,
    sealed blob not null,
    created_ms integer not null,
    primary key (project_id, generation)
);

-- The generation of the project's key that the body is sealed under; null for a plain body.
alter table message add column key_generation integer;
