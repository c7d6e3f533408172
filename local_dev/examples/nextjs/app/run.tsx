"use client";

import { useEffect, useState } from "react";
import type { Status } from "@/lib/functions";

/** What the shipped `report` tells of its progress; a progress may be any JSON. */
type Progress = { done: number; total: number; message: string } | null;

const WORDS: Record<Status["status"], string> = {
  DELAYED: "begins later",
  ENQUEUED: "waits for a worker",
  PENDING: "runs",
  SUCCESS: "is done",
  ERROR: "has failed",
  CANCELLED: "was cancelled",
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: "was given up",
};

const REFUSED = "It cannot be followed any longer. Load the page again.";

/** A run, followed live until it has ended. */
export function Run({ id }: { id: string }) {
  const { status, progress, problem } = useEvents(id);
  return (
    <section aria-labelledby="run">
      <h2 id="run">Run</h2>
      <code>{id}</code>
      <p role="status" className={status?.status}>
        {status ? inWords(status) : !problem && "Connecting …"}
      </p>
      {progress && (
        <>
          <progress aria-label="Progress" value={progress.done} max={progress.total} />
          <p>{`${progress.done} of ${progress.total}`}</p>
        </>
      )}
      <output>{status && <Outcome status={status} />}</output>
      <p role="alert">{problem}</p>
    </section>
  );
}

function Outcome({ status }: { status: Status }) {
  if (status.status === "ERROR") return `${status.error.name}: ${status.error.message}`;
  if (status.status !== "SUCCESS") return null;
  switch (status.workflow) {
    case "greeting":
      return status.result;
    case "report":
      return status.result?.lines.map((line) => <p key={line}>{line}</p>);
  }
}

function inWords({ workflow, status, attempts }: Status) {
  const again = attempts > 1 ? `, attempt ${attempts}: its worker was stopped` : "";
  return `${workflow} ${WORDS[status]}${again}`;
}

/** What the server-sent events of a run have told so far. */
function useEvents(id: string) {
  const [status, setStatus] = useState<Status>();
  const [progress, setProgress] = useState<Progress>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    // Cut off, it comes back by itself and goes on where it was.
    const events = new EventSource(`/status?id=${encodeURIComponent(id)}`);
    events.addEventListener("status", ({ data }) => {
      setStatus(JSON.parse(data));
      setProblem("");
    });
    events.addEventListener("progress", ({ data }) => setProgress(JSON.parse(data)));
    events.addEventListener("problem", ({ data }) => setProblem(JSON.parse(data)));
    events.addEventListener("end", () => events.close());
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setProblem(REFUSED);
    });
    return () => events.close();
  }, [id]);
  return { status, progress, problem };
}
