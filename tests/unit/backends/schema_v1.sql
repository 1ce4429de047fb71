-- A database of schema version 1 with a little of everything. Never edit: it is what was released.
BEGIN TRANSACTION;
CREATE TABLE actors (
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        api_server TEXT NOT NULL,
        definition TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        last_update_time INTEGER NOT NULL,
        status TEXT NOT NULL,
        status_message TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        state_version INTEGER NOT NULL,
        PRIMARY KEY (tenant, id)
    ) STRICT
    ;
INSERT INTO "actors" VALUES('DEV','counter','jane','http://127.0.0.1:8000','{"image":"abaco_test","name":"counter","description":"","stateless":false,"type":"none","token":"false","link":"","webhook":"","hints":["a","b"],"privileged":false,"max_workers":null,"mem_limit":null,"max_cpus":null,"queue":"default","use_container_uid":false,"default_environment":{"K":[1,null]},"log_ex":null}',1709208000123456,1709208000123456,'SUBMITTED','',1,'{"count":2}',2);
CREATE TABLE counters (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        accepted INTEGER NOT NULL,
        queued INTEGER NOT NULL,
        leased INTEGER NOT NULL,
        final INTEGER NOT NULL,
        CHECK (accepted = queued + leased + final)
    ) STRICT
    ;
INSERT INTO "counters" VALUES(1,3,1,1,1);
CREATE TABLE executions (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        id TEXT NOT NULL,
        api_server TEXT NOT NULL,
        executor TEXT NOT NULL,
        message_received_time INTEGER NOT NULL,
        message_seq INTEGER NOT NULL,
        status TEXT NOT NULL DEFAULT 'SUBMITTED',
        worker_id TEXT,
        attempt INTEGER NOT NULL DEFAULT 0,
        losses INTEGER NOT NULL DEFAULT 0,
        container_id TEXT NOT NULL DEFAULT '',
        start_time INTEGER,
        halt_requested TEXT,
        finish_time INTEGER,
        exit_code INTEGER,
        final_state TEXT,
        cpu_ns INTEGER NOT NULL DEFAULT 0,
        io_bytes INTEGER NOT NULL DEFAULT 0,
        runtime_ms INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, actor_id, id)
    ) STRICT
    ;
INSERT INTO "executions" VALUES('DEV','counter','e1','http://127.0.0.1:8000','jane',1709208000123456,1,'COMPLETE','w1',1,0,'c1',1709208001123456,NULL,1709208002123456,0,'{"Status":"exited","ExitCode":0,"OOMKilled":false}',5000000,1024,1500,'');
INSERT INTO "executions" VALUES('DEV','counter','e2','http://127.0.0.1:8000','jane',1709208001123456,2,'SUBMITTED','w1',1,0,'',NULL,NULL,NULL,NULL,NULL,0,0,0,'');
INSERT INTO "executions" VALUES('DEV','counter','e3','http://127.0.0.1:8000','jane',1709208002123456,3,'SUBMITTED',NULL,0,0,'',NULL,NULL,NULL,NULL,NULL,0,0,0,'');
CREATE TABLE instance (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL,
        holder TEXT,
        expires_at INTEGER
    ) STRICT
    ;
INSERT INTO "instance" VALUES(1,1,'first',1709208010123456);
CREATE TABLE log_chunks (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        start INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (tenant, actor_id, execution_id, start)
    ) STRICT
    ;
INSERT INTO "log_chunks" VALUES('DEV','counter','e1',0,X'636166C3A920FF0A');
CREATE TABLE logs (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        bytes_seen INTEGER NOT NULL,
        bytes_kept INTEGER NOT NULL,
        is_truncated INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (tenant, actor_id, execution_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "logs" VALUES('DEV','counter','e1',8,8,0,NULL);
CREATE TABLE mailboxes (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        last_seq INTEGER NOT NULL DEFAULT 0,
        queued INTEGER NOT NULL DEFAULT 0 CHECK (queued >= 0),
        leased INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
        executions INTEGER NOT NULL DEFAULT 0,
        cpu_ns INTEGER NOT NULL DEFAULT 0,
        io_bytes INTEGER NOT NULL DEFAULT 0,
        runtime_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, actor_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "mailboxes" VALUES('DEV','counter',3,1,1,3,5000000,1024,1500);
CREATE TABLE messages (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        execution_id TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('queued', 'leased')),
        lease_owner TEXT CHECK ((lease_owner IS NULL) = (state = 'queued')),
        body TEXT NOT NULL,
        content_type TEXT NOT NULL,
        username TEXT NOT NULL,
        api_server TEXT NOT NULL,
        enqueued_at INTEGER NOT NULL,
        environment TEXT NOT NULL,
        jwt_header TEXT,
        revision INTEGER NOT NULL,
        PRIMARY KEY (tenant, actor_id, seq),
        FOREIGN KEY (tenant, actor_id, execution_id) REFERENCES executions (tenant, actor_id, id)
    ) STRICT
    ;
INSERT INTO "messages" VALUES('DEV','counter',2,'e2','leased','w1','{"n":1}','str','jane','http://127.0.0.1:8000',1709208001123456,'{"q":"1"}',NULL,1);
INSERT INTO "messages" VALUES('DEV','counter',3,'e3','queued',NULL,'{"n":2}','str','jane','http://127.0.0.1:8000',1709208002123456,'{"q":"1"}',NULL,1);
CREATE TABLE results (
        seq INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        data BLOB NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT
    ;
INSERT INTO "results" VALUES(1,'DEV','counter','e1',X'00726573756C74',1709211600123456);
CREATE TABLE workers (
        tenant TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        id TEXT NOT NULL,
        image TEXT NOT NULL,
        revision INTEGER NOT NULL,
        host_id TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        location TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        status TEXT NOT NULL,
        previous_status TEXT,
        container_id TEXT NOT NULL,
        last_execution_time INTEGER,
        last_health_check_time INTEGER,
        PRIMARY KEY (tenant, actor_id, id),
        FOREIGN KEY (tenant, actor_id) REFERENCES actors (tenant, id) ON DELETE CASCADE
    ) STRICT
    ;
INSERT INTO "workers" VALUES('DEV','counter','w1','abaco_test',1,'0','127.0.0.1','unix:///var/run/docker.sock',1709208000123456,'BUSY',NULL,'c1',1709208003123456,NULL);
CREATE INDEX actors_all ON actors (create_time, id, tenant);
CREATE INDEX actors_of_tenant ON actors (tenant, create_time, id);
CREATE INDEX actors_of_owner ON actors (owner, create_time, id, tenant);
CREATE INDEX actors_of_tenant_owner ON actors (tenant, owner, create_time, id);
CREATE INDEX mailboxes_waiting ON mailboxes (tenant, actor_id) WHERE queued > 0;
CREATE INDEX executions_of_actor ON executions (tenant, actor_id, message_received_time, id);
CREATE INDEX executions_leased ON executions (message_received_time, id, actor_id, tenant) WHERE worker_id IS NOT NULL AND finish_time IS NULL;
CREATE INDEX messages_queued ON messages (tenant, actor_id, seq) WHERE state = 'queued';
CREATE INDEX messages_leased ON messages (tenant, actor_id, lease_owner) WHERE state = 'leased';
CREATE INDEX workers_all ON workers (create_time, id, actor_id, tenant);
CREATE INDEX logs_expiring ON logs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX results_of_execution ON results (tenant, actor_id, execution_id, seq);
CREATE INDEX results_expiring ON results (expires_at);
PRAGMA user_version = 1;
COMMIT;
