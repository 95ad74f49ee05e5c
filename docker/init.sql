-- Runs once, in a fresh data volume: a role and a schema per service, and nothing shared between them.
-- The roles and grants are those that provisionDatabase (libs/postgres) makes for the one-command stack.
-- Passwords come from the environment of the container; psql quotes them (:'name'), so any character is safe.
\set ON_ERROR_STOP on
\getenv registry_password REGISTRY_DATABASE_PASSWORD
\getenv orchestrator_password ORCHESTRATOR_DATABASE_PASSWORD
\getenv mesh_password MESH_DATABASE_PASSWORD
\getenv vault_password VAULT_DATABASE_PASSWORD
\getenv insight_password INSIGHT_DATABASE_PASSWORD

REVOKE ALL ON DATABASE nexus FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE ROLE nexus_registry LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'registry_password';
CREATE ROLE nexus_orchestrator LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'orchestrator_password';
CREATE ROLE nexus_mesh LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'mesh_password';
CREATE ROLE nexus_vault LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'vault_password';
CREATE ROLE nexus_insight LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'insight_password';

GRANT CONNECT ON DATABASE nexus
  TO nexus_registry, nexus_orchestrator, nexus_mesh, nexus_vault, nexus_insight;

CREATE SCHEMA registry AUTHORIZATION nexus_registry;
CREATE SCHEMA orchestrator AUTHORIZATION nexus_orchestrator;
CREATE SCHEMA mesh AUTHORIZATION nexus_mesh;
CREATE SCHEMA vault AUTHORIZATION nexus_vault;
CREATE SCHEMA insight AUTHORIZATION nexus_insight;

ALTER ROLE nexus_registry IN DATABASE nexus SET search_path = registry;
ALTER ROLE nexus_orchestrator IN DATABASE nexus SET search_path = orchestrator;
ALTER ROLE nexus_mesh IN DATABASE nexus SET search_path = mesh;
ALTER ROLE nexus_vault IN DATABASE nexus SET search_path = vault;
ALTER ROLE nexus_insight IN DATABASE nexus SET search_path = insight;
