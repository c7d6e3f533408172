"use client";

import { useRouter } from "next/navigation";
import { useActionState, useRef, useState } from "react";
import { launchGreeting, launchReport } from "./actions";

const AWAY = "There was no answer. You can safely try again: it is launched only once.";

/** The form: a name, and a button for each workflow. */
export function Launch() {
  const router = useRouter();
  const [name, setName] = useState("World");
  const click = useRef("");
  const [problem, launch, pending] = useActionState(submit, "");

  async function submit(_: string, action: typeof launchGreeting) {
    click.current ||= crypto.randomUUID();
    try {
      const launched = await action(name, click.current);
      if ("problem" in launched) return launched.problem;
      click.current = ""; // Not earlier: what was not answered may have been launched.
      router.push(`/?id=${encodeURIComponent(launched.id)}`);
      return "";
    } catch {
      return AWAY;
    }
  }

  function rename(name: string) {
    setName(name);
    click.current = "";
  }

  return (
    <form action={() => launch(launchGreeting)} aria-busy={pending}>
      <label htmlFor="name">Name</label>
      <input
        id="name"
        value={name}
        onChange={(event) => rename(event.target.value)}
        required
        maxLength={200}
        autoComplete="off"
      />
      <div className="buttons">
        <button disabled={pending}>Launch greeting</button>
        <button disabled={pending} formAction={() => launch(launchReport)}>
          Launch report
        </button>
      </div>
      <p role="alert">{problem}</p>
    </form>
  );
}
