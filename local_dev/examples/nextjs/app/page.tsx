import { Launch } from "./launch";
import { Run } from "./run";

/** The form, and the run that the URL names, if it does. */
export default async function Page({ searchParams }: PageProps<"/">) {
  const { id } = await searchParams;
  return (
    <main>
      <h1>Durable greetings</h1>
      <Launch />
      {typeof id === "string" && <Run key={id} id={id} />}
    </main>
  );
}
