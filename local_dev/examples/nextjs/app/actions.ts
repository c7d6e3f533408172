"use server";

import { launch } from "@/lib/functions";

/** Launch a greeting. */
export async function launchGreeting(name: string, click: string) {
  return launch("greeting", { name }, click);
}

/** Launch a report, which takes some seconds and survives whatever happens to its worker. */
export async function launchReport(title: string, click: string) {
  return launch("report", { title, length: 10 }, click);
}
