"""A primary is lost, and its synchronous standby is promoted."""

import time
from contextlib import ExitStack
from pathlib import Path

from local_dev.bench.processes import wait_until
from tests.calls import finished, launched
from tests.fleet import Fleet
from tests.pair import pair
from tests.processes import ALL, serve
from worker.settings import several_hosts


def test_all_goes_on_when_the_standby_is_promoted(project: Path, tmp_path: Path) -> None:
    """Both deployables have the URL that names both servers; nothing is started again or lost."""
    with pair(tmp_path) as servers, ExitStack() as stack:
        url = servers.url("app")
        workers = Fleet(project, several_hosts(url), stack)
        worker = workers.start(DBOS_SYSTEM_DATABASE_URL=url)
        environ = {"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"}
        functions = stack.enter_context(serve(ALL, project, environ))
        first = finished(functions, launched(functions, "greeting"))
        workers.launch(count=5, steps=20, seconds=0.3)
        wait_until(lambda: workers.runs(worker, 10))

        servers.lose_the_primary()
        away = functions.post("/launch/greeting")
        servers.promote()
        promoted = time.time()
        wait_until(lambda: functions.post("/launch/greeting").status_code == 202)
        launches = time.time() - promoted
        second = finished(functions, launched(functions, "greeting"))
        wait_until(lambda: any(line.time > promoted for line in workers.lines()))
        workers.finish()

        assert (first["status"], away.status_code, second["status"]) == ("SUCCESS", 503, "SUCCESS")
        assert launches < 5
        assert workers.check() <= 5
