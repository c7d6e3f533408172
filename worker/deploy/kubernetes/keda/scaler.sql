-- What the query in scaledobject.yaml reads; its role can launch and change nothing.
grant usage on schema dbos to scaler;
grant select on dbos.queues to scaler;
grant select (
    status, queue_name, priority, created_at, delay_until_epoch_ms, application_name,
    application_version
) on dbos.workflow_status to scaler;
