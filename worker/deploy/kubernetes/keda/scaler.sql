-- What the query in scaledobject.yaml reads; its role can launch and change nothing.
grant usage on schema dbos to scaler;
grant select on dbos.queues to scaler;
grant select (
    status, queue_name, application_name, application_version, delay_until_epoch_ms
) on dbos.workflow_status to scaler;
