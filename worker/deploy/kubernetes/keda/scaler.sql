-- What the query in scaledobject.yaml reads; its role can launch and change nothing.
grant usage on schema dbos, catalog to scaler;
grant select on dbos.queues to scaler;
grant select (workflow_uuid, tried_at) on catalog.unreplayable to scaler;
grant select (
    workflow_uuid, status, queue_name, priority, created_at, delay_until_epoch_ms,
    application_name, application_version
) on dbos.workflow_status to scaler;
