// Reads resources, one a line; writes what npm `fhir` says of each, one remark a line.
const { Fhir } = require("fhir");
const fhir = new Fhir();
const lines = require("fs").readFileSync(0, "utf8").split("\n");
lines.forEach((line, number) => {
  const answer = fhir.validate(JSON.parse(line), { errorOnUnexpected: true });
  for (const each of answer.messages) {
    console.log(JSON.stringify([number, each.severity, each.location || "", each.message]));
  }
});
