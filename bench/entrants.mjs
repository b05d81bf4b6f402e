// Starting the proxies, and trying a measurement: what fails is told, and does not end the others.
import { options } from './options.mjs';
import { freePorts, listening, start } from './processes.mjs';

/** A measurement that fails is a problem of its own in the report. */
export async function attempt(outcome, what, measure) {
  try {
    return await measure();
  } catch (error) {
    outcome.problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

/** The proxy with `process` and its `ports`, or null when it cannot be started. */
export async function startPeer(peer, folder, outcome) {
  const nodeFlags = [...options.nodeFlags];
  if (options.profile !== undefined) nodeFlags.push('--cpu-prof', `--cpu-prof-dir=${options.profile}`);
  return attempt(outcome, `${peer.name}, start`, async () => {
    const [socks, other] = await freePorts(2);
    const http = peer.mixed ? socks : other;
    const child = start(await peer.command({ socks, http, folder, nodeFlags }), { env: { ...process.env, ...peer.env } });
    child.child.stdout.resume();
    const ports = { socks, http };
    for (const protocol of peer.serves) await listening(child, ports[protocol]);
    return { name: peer.name, serves: peer.serves, ports, process: child };
  });
}
