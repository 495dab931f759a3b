// Runs the case that the process asks for over the WebSocket, and reports its result.

import { Agent } from "./agent.js";
import { dataCases } from "./data.js";
import { mediaCases } from "./media.js";
import { Unsupported, sleep } from "./util.js";

const cases = { ...dataCases, ...mediaCases };
const socket = new WebSocket(`ws://${location.host}/ws`);
const send = (message) => socket.send(JSON.stringify(message));
const complain = (text) => send({ stderr: text });

for (const level of ["debug", "info", "log", "warn", "error"]) {
  console[level] = (...words) => complain(`${level}: ${words.join(" ")}`);
}
window.addEventListener("error", ({ message, filename, lineno }) =>
  complain(`uncaught: ${message} (${filename}:${lineno})`),
);
window.addEventListener("unhandledrejection", ({ reason }) =>
  complain(`unhandled rejection: ${reason?.stack ?? reason}`),
);

let agent;
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.start) run(message.start);
  else agent.receive(message.line);
};

async function run(config) {
  agent = new Agent(config, (line) => send({ line }));
  const deadline = sleep(config.timeout * 1000).then(() => {
    const { pc } = agent;
    const states = pc ? `${pc.signalingState}, ${pc.iceConnectionState}, ${pc.connectionState}` : "";
    throw new Error(`timed out while ${agent.step} (${states})`);
  });
  let error;
  try {
    await Promise.race([play(config), agent.failure, deadline]);
  } catch (caught) {
    error = caught instanceof Unsupported ? "unsupported" : (caught?.message ?? String(caught));
    console.warn(caught?.stack ?? caught);
    if (caught instanceof Unsupported) agent.details.reason = caught.message;
  }
  agent.close();
  if (error !== undefined) agent.details.error = error;
  const result = { type: "result", ok: error === undefined, case: config.case };
  send({ line: { ...result, details: agent.details } });
}

async function play(config) {
  const role = cases[config.case]?.[config.role];
  if (!role) throw new Unsupported(`the browser agent has no case ${config.case}`);
  await role(agent);
  Object.assign(agent.details, await agent.readTransport());
  agent.sendDone();
  if (!agent.leavesFirst) await agent.waitPeerDone();
}
