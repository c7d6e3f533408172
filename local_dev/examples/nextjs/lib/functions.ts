import "server-only";

import type { components, paths } from "./types";

type Schemas = components["schemas"];

/** How a run of the workflows that this app launches is; `workflow` and `status` narrow it. */
export type Status = Schemas["GreetingStatus"] | Schemas["ReportStatus"];

export type Launched = { id: string } | { problem: string };

/** What each workflow takes, by its name. */
type Arguments = {
  [Path in keyof paths as Path extends `/launch/${infer Name}` ? Name : never]: OfOne<paths[Path]>;
};

/** The arguments of one launch; an array would be a batch. */
type OfOne<Path> = Path extends {
  post: { requestBody?: { content: { "application/json": infer Body } } };
}
  ? Exclude<Body, unknown[]>
  : never;

const FUNCTIONS = process.env.FUNCTIONS_URL ?? "http://127.0.0.1:8080";

const KEY = process.env.FUNCTIONS_KEY;

const AUTHORIZATION: Record<string, string> = KEY ? { Authorization: `Bearer ${KEY}` } : {};

/** Milliseconds; the functions promise an answer within five seconds. */
const PATIENCE = 10_000;

/** Launch a workflow. The same `click` with the same arguments launches one, however often. */
export async function launch<Name extends keyof Arguments>(
  workflow: Name,
  args: Arguments[Name],
  click: string,
): Promise<Launched> {
  const response = await call(`/launch/${workflow}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": click },
    body: JSON.stringify(args),
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!response.ok) return { problem: await inWords(response) };
  const launched: Schemas["Launched"] = await response.json();
  return { id: launched.workflow_id };
}

/** The server-sent events of a workflow, after the one with the id `last`. */
export function events(id: string, last: string, signal: AbortSignal): Promise<Response> {
  return call(`/status/${encodeURIComponent(id)}`, {
    headers: { Accept: "text/event-stream", "Last-Event-ID": last },
    signal,
  });
}

/** A problem in words for people; what stands between here and the functions may send anything. */
export async function inWords(response: Response): Promise<string> {
  const problem: Partial<Schemas["Problem"]> = await response.json().catch(() => ({}));
  const wrong = problem.errors?.map(({ pointer, message }) => `${pointer.slice(1)} ${message}`);
  return [problem.detail ?? "The functions gave no proper answer.", ...(wrong ?? [])].join(" ");
}

type Options = RequestInit & { headers: Record<string, string> };

async function call(path: string, { headers, ...options }: Options): Promise<Response> {
  try {
    return await fetch(FUNCTIONS + path, {
      cache: "no-store",
      headers: { ...headers, ...AUTHORIZATION },
      ...options,
    });
  } catch (error) {
    console.error("The functions cannot be reached.", error);
    return Response.json({ detail: "The functions cannot be reached." }, { status: 503 });
  }
}
