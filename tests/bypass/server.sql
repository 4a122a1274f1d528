-- What the server has beside the database: roles that an attacker may want to become.
CREATE ROLE clerk LOGIN;
CREATE ROLE auditor;
GRANT auditor TO clerk;
-- Its functions are asked for in the database `postgres` too.
CREATE EXTENSION pg_stat_statements;
