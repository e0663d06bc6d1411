// The SMART client of the npm registry, signed in as after a launch.
"use strict";

const smart = require("fhirclient");
const { base, token, patient, observation, batch, finalStatus, run } = require("./scenario.cjs");

const nobody = { headers: {}, url: "/", socket: {} };
const client = smart(nobody, {}, {}).client({
  serverUrl: base,
  tokenResponse: { access_token: token, token_type: "bearer", patient },
});

run(async () => {
  const person = await client.patient.read();
  const found = await client.request(`Observation?patient=${patient}&_count=7`, {
    pageLimit: 0,
    flat: true,
  });
  const referring = await client.request(`Observation/${found[0].id}`, {
    resolveReferences: "subject",
  });
  const created = await client.create(observation("2345-7", 90));
  const patched = await client.patch(`Observation/${created.id}`, finalStatus);
  const updated = await client.update({ ...patched, note: [{ text: "seen twice" }] });
  const answer = await client.request({
    url: "",
    method: "POST",
    body: JSON.stringify(batch(created.id)),
    headers: { "content-type": "application/fhir+json" },
  });
  const removed = await client.delete(`Observation/${created.id}`).then(
    () => "deleted",
    (error) => String(error)
  );
  const gone = await client.request(`Observation/${created.id}`).then(
    () => 200,
    (error) => error.statusCode || error.status
  );
  return {
    read: person.id,
    found: found.map((one) => one.id),
    resolved: referring.subject.resourceType,
    created: created.status,
    patched: [patched.status, patched.meta.versionId],
    updated: updated.note[0].text,
    batch: answer.entry.map((entry) => entry.response.status.slice(0, 3)),
    removed,
    gone,
  };
});
