// The client of the FHIR kit.
"use strict";

const path = require("path");
const { pathToFileURL } = require("url");
const { base, token, patient, observation, batch, finalStatus, run } = require("./scenario.cjs");

run(async () => {
  // A module of the newer kind is not found by NODE_PATH.
  const folder = path.join(process.env.NODE_PATH, "fhir-kit-client");
  const main = path.join(folder, require(path.join(folder, "package.json")).main);
  const { Client } = await import(pathToFileURL(main).href);
  const client = new Client({ baseUrl: base, bearerToken: token });
  const statement = await client.capabilityStatement();
  const person = await client.read({ resourceType: "Patient", id: patient });
  const resourceType = "Observation";
  const found = [];
  const searchParams = { patient, _count: 7, _sort: "-date" };
  let page = await client.search({ resourceType, searchParams });
  while (page) {
    found.push(...(page.entry || []).map((entry) => entry.resource.id));
    page = await client.nextPage({ bundle: page });
  }
  const posted = await client.search({ resourceType, searchParams, options: { postSearch: true } });
  const compartment = { resourceType: "Patient", id: patient };
  const within = await client.search({ resourceType, compartment, searchParams: { _count: 5 } });
  const created = await client.create({ resourceType, body: observation("2345-7", 90) });
  const { id } = created;
  const patched = await client.patch({ resourceType, id, jsonPatch: finalStatus });
  const old = await client.vread({ resourceType, id, version: created.meta.versionId });
  const history = await client.history({ resourceType, id });
  const answer = await client.batch({ body: batch(id) });
  const whole = await client.operation({
    name: "everything",
    resourceType: "Patient",
    id: patient,
    method: "GET",
  });
  await client.delete({ resourceType, id });
  const gone = await client.read({ resourceType, id }).then(
    () => 200,
    (error) => error.response.status
  );
  return {
    version: statement.fhirVersion,
    read: person.id,
    found,
    posted: posted.entry.length,
    within: within.entry.length,
    created: created.status,
    patched: [patched.status, patched.meta.versionId],
    old: old.status,
    history: history.entry.length,
    batch: answer.entry.map((entry) => entry.response.status.slice(0, 3)),
    whole: whole.entry.some((entry) => entry.resource.id === id),
    gone,
  };
});
