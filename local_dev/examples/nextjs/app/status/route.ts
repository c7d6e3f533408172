import { events, inWords } from "@/lib/functions";

const HEADERS = {
  "Content-Type": "text/event-stream",
  // Whatever compresses or buffers the events delays them.
  "Cache-Control": "no-store, no-transform",
  "X-Accel-Buffering": "no",
};

/** `GET /status?id=`: the server-sent events of a workflow, with the key that browsers have not. */
export async function GET(request: Request) {
  const id = new URL(request.url).searchParams.get("id") ?? "";
  const last = request.headers.get("Last-Event-ID") ?? "";
  const response = await events(id, last, request.signal);
  if (response.status === 204) return new Response(null, { status: 204 });
  const body = response.ok ? response.body : problem(await inWords(response), response.status);
  return new Response(body, { headers: HEADERS });
}

/** An EventSource cannot read other answers; it comes back unless it is told the end. */
function problem(words: string, status: number) {
  // The empty id has it begin anew then, with the status, which tells that the problem is over.
  const told = `id:\nevent: problem\ndata: ${JSON.stringify(words)}\n\n`;
  return status < 500 ? `${told}event: end\ndata: {}\n\n` : told;
}
