// Validates documents as "asyncapi validate" does, by the same parser: exit 1 if one
// is invalid.
const fs = require('node:fs');
const { Parser } = require('@asyncapi/parser');

(async () => {
  for (const file of process.argv.slice(2)) {
    const { document, diagnostics } = await new Parser().parse(fs.readFileSync(file, 'utf8'), { source: file });
    for (const d of diagnostics) {
      console.log(`${file}: ${d.code}: ${d.message} (${d.path.join('/')})`);
    }
    if (!document) {
      process.exitCode = 1;
    }
  }
})();
