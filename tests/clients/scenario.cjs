// What every JavaScript client is asked to do, and where its answers go.
"use strict";

const [base, token, patient] = process.argv.slice(2);
const LOINC = "http://loinc.org";

function observation(code, value) {
  return {
    resourceType: "Observation",
    status: "preliminary",
    code: { coding: [{ system: LOINC, code }] },
    subject: { reference: `Patient/${patient}` },
    effectiveDateTime: "2026-05-04T08:30:00Z",
    valueQuantity: { value, unit: "mg/dL", system: "http://unitsofmeasure.org", code: "mg/dL" },
  };
}

function batch(id) {
  return {
    resourceType: "Bundle",
    type: "batch",
    entry: [
      { resource: observation("2345-7", 101), request: { method: "POST", url: "Observation" } },
      { request: { method: "GET", url: `Observation/${id}` } },
    ],
  };
}

const finalStatus = [{ op: "replace", path: "/status", value: "final" }];

function tell(found) {
  process.stdout.write(JSON.stringify(found));
}

function run(work) {
  work().then(tell, (error) => {
    process.stderr.write(`${error && error.stack}\n`);
    process.exit(1);
  });
}

module.exports = { base, token, patient, observation, batch, finalStatus, run };
